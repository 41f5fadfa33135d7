//! Names of functions, operators and collations with the schema of what is built in.

use datafusion::sql::sqlparser::ast::{BinaryOperator, ObjectName, ObjectNamePart};

/// Schemas of functions and operators that stand before what is built in.
const BUILT_IN: [&str; 2] = ["pg_catalog", "information_schema"];

/// Takes away a schema that means what is built in.
pub(super) fn unqualify(name: &mut ObjectName) {
    if let [
        ObjectNamePart::Identifier(schema),
        ObjectNamePart::Identifier(_),
    ] = name.0.as_slice()
        && BUILT_IN.contains(&schema.value.to_lowercase().as_str())
    {
        name.0.remove(0);
    }
}

/// Whether text is compared by its bytes in a collation.
pub(in crate::sql) fn compares_bytes(collation: &ObjectName) -> bool {
    let last = collation.0.last().and_then(|part| part.as_ident());
    let names = ["default", "c", "posix", "ucs_basic"];
    last.is_some_and(|ident| names.contains(&ident.value.to_lowercase().as_str()))
}

/// The operator of that spelling, of those that clients qualify.
pub(super) fn operator(spelling: &str) -> Option<BinaryOperator> {
    Some(match spelling {
        "~" => BinaryOperator::PGRegexMatch,
        "~*" => BinaryOperator::PGRegexIMatch,
        "!~" => BinaryOperator::PGRegexNotMatch,
        "!~*" => BinaryOperator::PGRegexNotIMatch,
        "~~" => BinaryOperator::PGLikeMatch,
        "~~*" => BinaryOperator::PGILikeMatch,
        "!~~" => BinaryOperator::PGNotLikeMatch,
        "!~~*" => BinaryOperator::PGNotILikeMatch,
        "=" => BinaryOperator::Eq,
        "<>" | "!=" => BinaryOperator::NotEq,
        "<" => BinaryOperator::Lt,
        "<=" => BinaryOperator::LtEq,
        ">" => BinaryOperator::Gt,
        ">=" => BinaryOperator::GtEq,
        "+" => BinaryOperator::Plus,
        "-" => BinaryOperator::Minus,
        "*" => BinaryOperator::Multiply,
        "/" => BinaryOperator::Divide,
        "||" => BinaryOperator::StringConcat,
        _ => return None,
    })
}
