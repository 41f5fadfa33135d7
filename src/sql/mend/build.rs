//! Calls, casts and operators as trees.

use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArgumentList, FunctionArguments, Ident, ObjectName,
};

/// A cast to a type that has a name alone.
pub(super) fn cast(expr: Expr, name: &str) -> Expr {
    let name = ObjectName::from(vec![Ident::new(name)]);
    cast_as(expr, ast::DataType::Custom(name, Vec::new()))
}

/// A cast.
pub(super) fn cast_as(expr: Expr, data_type: ast::DataType) -> Expr {
    Expr::Cast {
        kind: ast::CastKind::Cast,
        expr: Box::new(expr),
        data_type,
        array: false,
        format: None,
    }
}

/// An operator between its sides.
pub(super) fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp {
        left: Box::new(left),
        op,
        right: Box::new(right),
    }
}

/// The expression in brackets.
pub(super) fn nested(expr: Expr) -> Expr {
    Expr::Nested(Box::new(expr))
}

/// An argument without a name.
pub(super) fn argument(expr: Expr) -> FunctionArg {
    FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))
}

/// A plain call of a function.
pub(in crate::sql) fn call(name: &str, arguments: Vec<Expr>) -> Expr {
    Expr::Function(call_with(name, arguments, Vec::new()))
}

/// A call with what stands behind its arguments.
pub(super) fn call_with(
    name: &str,
    arguments: Vec<Expr>,
    clauses: Vec<FunctionArgumentClause>,
) -> Function {
    Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: arguments.into_iter().map(argument).collect(),
            clauses,
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    }
}

/// Whether a call is of distinct values.
pub(super) fn is_distinct(function: &Function) -> bool {
    let FunctionArguments::List(list) = &function.args else {
        return false;
    };
    list.duplicate_treatment == Some(ast::DuplicateTreatment::Distinct)
}

/// The arguments of a plain call.
pub(super) fn arguments(function: &Function) -> Option<Vec<&Expr>> {
    let FunctionArguments::List(list) = &function.args else {
        return None;
    };
    let expr = |arg: &FunctionArg| matches!(arg, FunctionArg::Unnamed(FunctionArgExpr::Expr(_)));
    if !list.args.iter().all(expr) {
        return None;
    }
    let inner = list.args.iter().filter_map(|arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    });
    Some(inner.collect())
}
