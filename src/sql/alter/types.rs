//! ALTER TABLE .. ALTER COLUMN .. TYPE.

use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::functions::expr_fn::character_length;
use datafusion::logical_expr::ExprSchemable;
use datafusion::prelude::{Expr, ident, lit};
use datafusion::sql::sqlparser::ast::{self, Ident};

use super::columns::column_mut;
use super::{Next, generated, identity};
use crate::catalog::typed::in_expression;
use crate::error::{Error, Result, sqlstate};
use crate::sql::constraint::{check_operators, check_reads_row, planned};
use crate::sql::ddl::{check_orders, column_type_of};
use crate::sql::dependents::{Dropped, first_reader};
use crate::sql::foreign_key::check_comparable;
use crate::sql::index::check_index;
use crate::sql::parser::fold;
use crate::sql::partition::check_column;
use crate::sql::sequence::SequenceOptions;
use crate::sql::session::Planning;
use crate::storage::collection::Collection;
use crate::storage::foreign_key::ForeignKey;
use crate::storage::schema::{CollectionSchema, Column, ColumnType, FieldId, TextName};
use crate::storage::sequence::Generates;

/// What a column becomes.
pub(super) struct NewType<'a> {
    pub name: &'a Ident,
    pub data_type: &'a ast::DataType,
    pub using: Option<&'a ast::Expr>,
}

impl NewType<'_> {
    /// Gives the column the type, and its values where they are kept in another way.
    ///
    /// # Errors
    /// 0A000 where views or generated columns read it, 42804 for values or a default that do not become of the type by
    /// themselves, 22023 for an identity column that would hold no whole numbers, and those of USING.
    pub async fn set(
        &self,
        planning: &Planning<'_>,
        collection: &Arc<Collection>,
        next: &mut Next,
    ) -> Result<()> {
        let names = planning.type_names();
        let wanted = names.column_type(self.data_type)?;
        let domain = names.domain(self.data_type).map(|domain| domain.id);
        let column = column_mut(&mut next.schema, self.name)?.clone();
        check_column(
            &collection.schema,
            &collection.name.name,
            &column.name,
            "alter",
        )?;
        self.check_readers(next, &column)?;
        let is_same = column.column_type == wanted && column.domain == domain;
        if is_same && self.using.is_none() {
            return Ok(());
        }
        if next.retyped.contains(&column.id) {
            let message = format!("cannot alter type of column \"{}\" twice", column.name);
            return Err(Error::unsupported(message));
        }
        let Some(stored) = collection.schema.column_by_id(column.id) else {
            return Err(missing(&column.name, collection));
        };
        self.check_views(planning, collection, stored).await?;
        let is_automatic = becomes(&column.column_type, &wanted);
        if self.using.is_none() && column.generated.is_none() && !is_automatic {
            return Err(no_cast(&column, &wanted));
        }
        if column.default.is_some() && !is_automatic {
            let message = format!(
                "default for column \"{}\" cannot be cast automatically to type {wanted}",
                column.name
            );
            return Err(Error::invalid(sqlstate::DATATYPE_MISMATCH, message));
        }
        self.set_identity(planning, collection, next, &wanted)?;
        next.retyped.push(column.id);
        match self.using {
            _ if column.generated.is_some() => next.is_rewritten = true,
            Some(using) => {
                let value = self.value(planning, collection, using, &wanted)?;
                next.values.insert(column.id, value);
                next.is_rewritten = true;
            }
            None if are_texts(&column.column_type, &wanted) => {
                check_lengths(planning, collection, stored, &wanted).await?;
            }
            None => next.is_rewritten = true,
        }
        // Values are checked as they come.
        next.is_rewritten |= domain.is_some();
        let column = column_mut(&mut next.schema, self.name)?;
        (column.column_type, column.domain) = (wanted, domain);
        Ok(())
    }

    fn check_readers(&self, next: &Next, column: &Column) -> Result<()> {
        if self.using.is_some() && column.generated.is_some() {
            let message = "cannot specify USING when altering type of generated column";
            let detail = format!("Column \"{}\" is a generated column.", column.name);
            return Err(
                Error::invalid(sqlstate::INVALID_COLUMN_DEFINITION, message).with_detail(detail)
            );
        }
        let Some(reader) = generated::readers(next, column.id).first().copied() else {
            return Ok(());
        };
        let detail = format!(
            "Column \"{}\" is used by generated column \"{}\".",
            column.name, reader.name
        );
        let message = "cannot alter type of a column used by a generated column";
        Err(Error::unsupported(message).with_detail(detail))
    }

    async fn check_views(
        &self,
        planning: &Planning<'_>,
        collection: &Collection,
        stored: &Column,
    ) -> Result<()> {
        let column = Dropped::column(collection, stored);
        let Some(view) = first_reader(planning, &column).await? else {
            return Ok(());
        };
        let name = &stored.name;
        let detail = format!("rule _RETURN on {view} depends on column \"{name}\"");
        let message = "cannot alter type of a column used by a view or rule";
        Err(Error::unsupported(message).with_detail(detail))
    }

    /// The sequence of an identity column gives numbers of the column's type.
    fn set_identity(
        &self,
        planning: &Planning<'_>,
        collection: &Collection,
        next: &mut Next,
        wanted: &ColumnType,
    ) -> Result<()> {
        let column = column_mut(&mut next.schema, self.name)?.id;
        let sequence = planning.snapshot.owned_sequence(collection.id, column);
        let generates = sequence.and_then(|sequence| sequence.owner?.generates);
        if generates.is_none_or(|generates| generates == Generates::Default) {
            return Ok(());
        }
        if !is_whole(wanted) || wanted == &ColumnType::TinyInt {
            let message = "identity column type must be smallint, integer, or bigint";
            return Err(Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message));
        }
        let options = SequenceOptions {
            data_type: Some(wanted.clone()),
            ..SequenceOptions::default()
        };
        identity::set(planning, collection, next, self.name, None, &options)
    }

    /// What USING gives the column.
    fn value(
        &self,
        planning: &Planning<'_>,
        collection: &Collection,
        using: &ast::Expr,
        wanted: &ColumnType,
    ) -> Result<Expr> {
        let row = DFSchema::try_from(collection.schema.arrow_schema())?;
        let (_, value) = planned(planning, using, &row)?;
        check_reads_row(&value, "transform expression")?;
        // What stands there as a text is read as the type.
        let is_literal = matches!(value, Expr::Literal(..));
        let field = in_expression(value.clone(), &row)?.to_field(&row)?.1;
        if is_literal || column_type_of(&field).is_ok_and(|given| becomes(&given, wanted)) {
            return Ok(value);
        }
        let message = format!(
            "result of USING clause for column \"{}\" cannot be cast automatically to type {wanted}",
            fold(self.name)
        );
        Err(Error::invalid(sqlstate::DATATYPE_MISMATCH, message)
            .with_hint("You might need to add an explicit cast."))
    }
}

fn missing(name: &str, collection: &Collection) -> Error {
    let relation = &collection.name.name;
    let message = format!("column \"{name}\" of relation \"{relation}\" does not exist");
    Error::not_found(sqlstate::UNDEFINED_COLUMN, message)
}

fn no_cast(column: &Column, wanted: &ColumnType) -> Error {
    let name = &column.name;
    let message = format!("column \"{name}\" cannot be cast automatically to type {wanted}");
    Error::invalid(sqlstate::DATATYPE_MISMATCH, message).with_hint(format!(
        "You might need to specify \"USING {name}::{wanted}\"."
    ))
}

/// Whether values of the one type become of the other when they are assigned, as PostgreSQL has it.
fn becomes(from: &ColumnType, to: &ColumnType) -> bool {
    use ColumnType as C;
    let is_text = |of: &C| matches!(of, C::Text | C::Varchar(_) | C::Char(_) | C::Named(_));
    let is_moment = |of: &C| matches!(of, C::Date | C::Timestamp | C::TimestampTz);
    match (from.base(), to.base()) {
        (from, to) if from == to || is_text(to) => true,
        (C::Json | C::Jsonb, C::Json | C::Jsonb) => true,
        (C::Bit { .. }, C::Bit { .. }) => true,
        (C::SparseVec(_) | C::Vector(_) | C::HalfVec(_), to) if is_vector(to) => true,
        (C::Vector(_), C::Array(element)) => matches!(**element, C::Real),
        (C::Array(element), to) if is_vector(to) => is_number(element),
        (C::Array(from), C::Array(to)) => becomes(from, to),
        (C::Time, C::Interval) => true,
        (C::Timestamp | C::TimestampTz, C::Time) => true,
        (from, to) => (is_number(from) && is_number(to)) || (is_moment(from) && is_moment(to)),
    }
}

fn is_vector(of: &ColumnType) -> bool {
    of.is_vector() || matches!(of, ColumnType::SparseVec(_))
}

fn is_whole(of: &ColumnType) -> bool {
    use ColumnType as C;
    matches!(of, C::TinyInt | C::SmallInt | C::Integer | C::BigInt)
}

fn is_number(of: &ColumnType) -> bool {
    use ColumnType as C;
    is_whole(of) || matches!(of, C::Real | C::Double | C::Numeric(..))
}

/// The most characters of a text that is kept as it is.
fn characters_max(of: &ColumnType) -> Option<u32> {
    match of {
        ColumnType::Text | ColumnType::Named(TextName::Varchar) => Some(u32::MAX),
        ColumnType::Varchar(most) => Some(*most),
        _ => None,
    }
}

/// Whether both are texts that are kept alike.
fn are_texts(from: &ColumnType, to: &ColumnType) -> bool {
    characters_max(from).is_some() && characters_max(to).is_some()
}

/// That no text of a column is too long for a type which allows fewer characters.
async fn check_lengths(
    planning: &Planning<'_>,
    collection: &Collection,
    stored: &Column,
    wanted: &ColumnType,
) -> Result<()> {
    let before = characters_max(&stored.column_type);
    let Some(after) = characters_max(wanted).filter(|after| before.is_some_and(|b| *after < b))
    else {
        return Ok(());
    };
    let too_long = character_length(ident(&stored.name)).gt(lit(i64::from(after)));
    if planning.count(collection, too_long).await? == 0 {
        return Ok(());
    }
    let message = format!("value too long for type character varying({after})");
    let code = sqlstate::STRING_DATA_RIGHT_TRUNCATION;
    Err(Error::invalid(code, message))
}

/// That what stands upon columns of other types still can: checks, keys, indexes, foreign keys.
///
/// # Errors
/// 42883 and 42804 for expressions and foreign keys that do not go with the types, 42P16 and 42704 for keys and indexes of
/// types without an order.
pub(super) fn check(
    planning: &Planning<'_>,
    collection: &Arc<Collection>,
    next: &Next,
) -> Result<()> {
    if next.retyped.is_empty() {
        return Ok(());
    }
    let schema = &next.schema;
    let is_retyped = |id: &FieldId| next.retyped.contains(id);
    let row = DFSchema::try_from(schema.arrow_schema())?;
    for check in &schema.checks {
        if check.columns.iter().any(is_retyped) {
            let condition = planning.expression(&check.condition, &row)?;
            check_operators(&condition, &row)?;
            in_expression(condition, &row)?;
        }
    }
    check_keys(schema, is_retyped)?;
    let mut becomes = Collection::clone(collection);
    becomes.schema = Arc::new(schema.clone());
    for index in collection.indexes() {
        if index.columns.iter().any(is_retyped) {
            check_index(planning, &becomes, index)?;
        }
    }
    check_references(planning, collection, next, is_retyped)
}

fn check_keys(schema: &CollectionSchema, is_retyped: impl Fn(&FieldId) -> bool) -> Result<()> {
    check_orders(schema)?;
    let mut computed = schema.computed_keys.iter();
    if !computed.any(|key| key.function.columns().iter().any(&is_retyped)) {
        return Ok(());
    }
    let message = "cannot alter type of a column that the clustering key computes with";
    Err(Error::unsupported(message).with_hint("ALTER TABLE .. CLUSTER BY NONE takes the key away."))
}

/// That foreign keys from and to the collection compare what can be compared.
fn check_references(
    planning: &Planning<'_>,
    collection: &Collection,
    next: &Next,
    is_retyped: impl Fn(&FieldId) -> bool,
) -> Result<()> {
    for key in &next.schema.foreign_keys {
        let parent = planning.snapshot.collection_by_id(key.parent);
        let parent = match key.parent == collection.id {
            true => Some(&next.schema),
            false => parent.map(|parent| parent.schema.as_ref()),
        };
        if let Some(parent) = parent {
            check_pairs(key, &next.schema, parent)?;
        }
    }
    for (child, key) in planning.snapshot.references_to(collection.id) {
        if child.id != collection.id {
            check_pairs(key, &child.schema, &next.schema)?;
        }
        for id in key.referred.iter().filter(|id| is_retyped(id)) {
            check_same_values(collection, next, *id)?;
        }
    }
    Ok(())
}

fn check_pairs(
    key: &ForeignKey,
    child: &CollectionSchema,
    parent: &CollectionSchema,
) -> Result<()> {
    for (own, referred) in key.columns.iter().zip(&key.referred) {
        let pair = (child.column_by_id(*own), parent.column_by_id(*referred));
        if let (Some(own), Some(referred)) = pair {
            check_comparable(&key.name, own, referred)?;
        }
    }
    Ok(())
}

/// That the values of a column which foreign keys refer to stay equal to what they were.
fn check_same_values(collection: &Collection, next: &Next, id: FieldId) -> Result<()> {
    let before = collection.schema.column_by_id(id);
    let after = next.schema.column_by_id(id);
    let (Some(before), Some(after)) = (before, after) else {
        return Ok(());
    };
    let (from, to) = (&before.column_type, &after.column_type);
    let is_same = are_texts(from, to) || (is_whole(from) && is_number(to) && !is_real(to));
    if is_same && !next.values.contains_key(&id) {
        return Ok(());
    }
    let name = &before.name;
    let message =
        format!("cannot alter the values of column \"{name}\", to which foreign keys refer");
    Err(Error::unsupported(message).with_hint("Drop the foreign keys, and add them again."))
}

fn is_real(of: &ColumnType) -> bool {
    matches!(of, ColumnType::Real | ColumnType::Double)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_becomes_of_another_type_by_itself() {
        use ColumnType as C;
        let floats = || C::Array(Box::new(C::Real));
        for (from, to) in [
            (C::Integer, C::Text),
            (C::Jsonb, C::Varchar(3)),
            (C::Double, C::SmallInt),
            (C::Timestamp, C::Date),
            (C::Timestamp, C::Timestamp.rounded(0)),
            (C::Json, C::Jsonb),
            (C::Vector(3), C::HalfVec(3)),
            (floats(), C::Vector(3)),
            (floats(), C::Array(Box::new(C::Text))),
        ] {
            assert!(becomes(&from, &to), "{from} {to}");
        }
        for (from, to) in [
            (C::Text, C::Integer),
            (C::Varchar(3), C::Date),
            (C::Boolean, C::Integer),
            (C::Text, C::Uuid),
            (C::Text, C::Jsonb),
            (C::Bytea, C::Uuid),
            (C::Date, C::Integer),
            (C::Text, C::Vector(3)),
            (C::Array(Box::new(C::Text)), C::Vector(3)),
        ] {
            assert!(!becomes(&from, &to), "{from} {to}");
        }
    }
}
