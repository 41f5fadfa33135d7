//! COPY .. TO: the query, and what takes its rows. Files that name their columns are written by DataFusion.

use std::collections::HashMap;
use std::path::{Path, PathBuf, absolute};
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::TableReference;
use datafusion::common::parsers::CompressionTypeVariant;
use datafusion::datasource::file_format::format_as_file_type;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::prelude::{Expr, cast};
use datafusion::sql::sqlparser::ast::{Ident, ObjectName};

use super::dialect::Dialect;
use super::input::CopyShape;
use super::options::{CopyOptions, Direction, Format};
use super::out::{CopyOutNode, Way};
use crate::catalog::pg_type::list_element;
use crate::catalog::provider::CATALOG;
use crate::error::{Error, Result, sqlstate};
use crate::sql::ddl::{find_collection, is_reserved, qualify};
use crate::sql::dml::copied_columns;
use crate::sql::session::{Planning, Tag};
use crate::sql::statement::{CopyPlace, CopySubject};

/// The plan of COPY .. TO.
///
/// # Errors
/// 42P01 or 42703 for what does not exist, 42809 for a view, 58P01 for a missing directory, and those of options.
pub(super) async fn plan(
    planning: &Planning<'_>,
    subject: CopySubject,
    place: &CopyPlace,
    options: CopyOptions,
) -> Result<(Tag, LogicalPlan)> {
    let input = match subject {
        CopySubject::Query(query) => planning.query(query).await?,
        CopySubject::Table(name, columns) => table(planning, &name, columns).await?,
    };
    let (dialect, file) = match place {
        CopyPlace::Client => (options.stream_dialect(Direction::To)?, None),
        CopyPlace::File(path) => {
            let path = writable(path)?;
            if !options.format_of(&path).is_rows() {
                let plan = file_plan(planning, input, &path, &options)?;
                return Ok((Tag::Count("COPY"), plan));
            }
            let compression = options.compression_of(&path);
            let dialect = options.file_dialect(&path, Direction::To)?;
            (dialect, Some((path, compression)))
        }
    };
    let tag = match &file {
        None => Tag::CopyOut(CopyShape::of(&dialect, input.schema().fields().len())),
        Some(_) => Tag::Count("COPY"),
    };
    let way = Way {
        force_quote: forced(&dialect, &input)?,
        dialect,
        style: planning.session.style(),
        file,
        progress: Arc::clone(planning.session.copy_progress()),
    };
    Ok((tag, CopyOutNode::plan(input, way)?))
}

/// The rows of a table.
async fn table(
    planning: &Planning<'_>,
    name: &ObjectName,
    columns: Vec<Ident>,
) -> Result<LogicalPlan> {
    let name = qualify(name, &planning.session.search_path())?;
    let partition = planning.snapshot.partition(&name);
    if partition.is_none() && planning.snapshot.view(&name).is_some() {
        let message = format!("cannot copy from view \"{}\"", name.name);
        return Err(Error::invalid(sqlstate::WRONG_OBJECT_TYPE, message)
            .with_hint("Try the COPY (SELECT ...) TO variant."));
    }
    if partition.is_none() && !is_reserved(&name.schema) {
        let collection = find_collection(&planning.snapshot, &name)?;
        if collection.materialized.is_some() {
            let message = format!("cannot copy from materialized view \"{}\"", name.name);
            return Err(Error::invalid(sqlstate::WRONG_OBJECT_TYPE, message)
                .with_hint("Try the COPY (SELECT ...) TO variant."));
        }
    }
    let reference = TableReference::full(CATALOG, name.schema.clone(), name.name.clone());
    let frame = planning.session.context().table(reference).await?;
    let plan = frame.into_unoptimized_plan();
    if columns.is_empty() && is_reserved(&name.schema) {
        return Ok(plan);
    }
    let collection = match partition {
        Some((_, of)) => planning.snapshot.collection_by_id(of.parent),
        None => Some(find_collection(&planning.snapshot, &name)?),
    };
    let collection = collection.ok_or_else(|| Error::internal("a partition has a table"))?;
    let names: Vec<_> = columns.into_iter().map(|c| vec![c].into()).collect();
    let all = plan.schema().columns();
    let chosen = copied_columns(collection, &names)?;
    if chosen.len() == all.len() && names.is_empty() {
        return Ok(plan);
    }
    let chosen: Vec<Expr> = chosen
        .into_iter()
        .map(|at| Expr::Column(all[at].clone()))
        .collect();
    Ok(LogicalPlanBuilder::from(plan).project(chosen)?.build()?)
}

fn forced(dialect: &Dialect, input: &LogicalPlan) -> Result<Vec<bool>> {
    let fields = input.schema().fields();
    let names: Vec<&str> = fields.iter().map(|f| f.name().as_str()).collect();
    match dialect {
        Dialect::Lines(format) => format.force_quote.flags("FORCE_QUOTE", &names),
        Dialect::Binary => Ok(vec![false; names.len()]),
    }
}

/// The plan that writes a file of a format with columns of its own.
fn file_plan(
    planning: &Planning<'_>,
    input: LogicalPlan,
    path: &Path,
    options: &CopyOptions,
) -> Result<LogicalPlan> {
    let format = options.format_of(path);
    let factory = planning
        .state
        .get_file_format_factory(format.name())
        .ok_or_else(|| {
            let name = format.name();
            Error::unsupported(format!("files of format {name} cannot be written"))
        })?;
    let mut written = HashMap::new();
    let compression = options.compression_of(path);
    if format == Format::Json && compression != CompressionTypeVariant::UNCOMPRESSED {
        written.insert("format.compression".to_string(), compression.to_string());
    }
    let input = match format {
        Format::Arrow => input,
        _ => intervals_as_texts(input)?,
    };
    let file_type = format_as_file_type(factory);
    let url = path.to_string_lossy().into_owned();
    Ok(LogicalPlanBuilder::copy_to(input, url, file_type, written, Vec::new())?.build()?)
}

/// Intervals as PostgreSQL writes them: Parquet has none of microseconds, and JSON none at all.
fn intervals_as_texts(input: LogicalPlan) -> Result<LogicalPlan> {
    let holds_interval = |field: &FieldRef| {
        let element = list_element(field.data_type()).unwrap_or(field);
        matches!(element.data_type(), DataType::Interval(_))
    };
    if !input.schema().fields().iter().any(holds_interval) {
        return Ok(input);
    }
    let columns = input.schema().columns().into_iter();
    let columns = columns.zip(input.schema().fields()).map(|(column, field)| {
        let value = Expr::Column(column.clone());
        match holds_interval(field) {
            true => cast(value, DataType::Utf8).alias_qualified(column.relation, column.name),
            false => value,
        }
    });
    let columns: Vec<Expr> = columns.collect();
    Ok(LogicalPlanBuilder::from(input).project(columns)?.build()?)
}

/// The file's whole path, whose directory is there.
fn writable(path: &str) -> Result<PathBuf> {
    let error = |e| Error::io(format!("write file \"{path}\""), e);
    let path = absolute(path).map_err(error)?;
    match path.parent() {
        Some(parent) if !parent.is_dir() => Err(Error::not_found(
            sqlstate::UNDEFINED_FILE,
            format!("directory \"{}\" does not exist", parent.display()),
        )),
        _ => Ok(path),
    }
}
