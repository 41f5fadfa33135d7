//! COPY .. TO a file, written by DataFusion's writers.

use std::collections::HashMap;
use std::path::{Path, absolute};

use arrow::datatypes::DataType;
use datafusion::common::TableReference;
use datafusion::common::parsers::CompressionTypeVariant;
use datafusion::datasource::file_format::format_as_file_type;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, cast};
use datafusion::prelude::Expr;
use shelfmark_udfs::VectorType;

use super::options::{CopyOptions, Format};
use crate::catalog::provider::CATALOG;
use crate::error::{Error, Result, sqlstate};
use crate::sql::ddl::{find_collection, qualify};
use crate::sql::dml::target_columns;
use crate::sql::session::Planning;
use crate::sql::statement::CopySubject;

/// COPY .. TO.
pub(super) async fn plan(
    planning: &Planning<'_>,
    subject: CopySubject,
    path: &str,
    options: CopyOptions,
) -> Result<LogicalPlan> {
    let format = options.format_of(Path::new(path))?;
    let mut input = match subject {
        CopySubject::Query(query) => planning.query(query).await?,
        CopySubject::Table(name, columns) => {
            let name = qualify(&name, &planning.session.search_path())?;
            let reference = TableReference::full(CATALOG, name.schema.clone(), name.name.clone());
            let frame = planning.session.context().table(reference).await?;
            let plan = frame.into_unoptimized_plan();
            if columns.is_empty() {
                plan
            } else {
                let collection = find_collection(&planning.snapshot, &name)?;
                let names: Vec<_> = columns.into_iter().map(|c| vec![c].into()).collect();
                let at = target_columns(collection, &names)?;
                let all = plan.schema().columns();
                let chosen: Vec<Expr> = at
                    .into_iter()
                    .map(|i| Expr::Column(all[i].clone()))
                    .collect();
                LogicalPlanBuilder::from(plan).project(chosen)?.build()?
            }
        }
    };
    if format == Format::Csv {
        input = with_text_for_lists(input)?;
    }
    let url = file_url(path)?;
    let factory = planning
        .state
        .get_file_format_factory(format.name())
        .ok_or_else(|| {
            Error::unsupported(format!(
                "files of format {} cannot be written",
                format.name()
            ))
        })?;
    let written = writer_options(path, format, &options)?;
    let file_type = format_as_file_type(factory);
    Ok(LogicalPlanBuilder::copy_to(input, url, file_type, written, Vec::new())?.build()?)
}

/// CSV has no lists: vectors are written as pgvector's text, which COPY reads back.
fn with_text_for_lists(plan: LogicalPlan) -> Result<LogicalPlan> {
    let is_list = |t: &DataType| {
        VectorType::of(t).is_some() || matches!(t, DataType::List(_) | DataType::FixedSizeList(..))
    };
    if !plan
        .schema()
        .fields()
        .iter()
        .any(|f| is_list(f.data_type()))
    {
        return Ok(plan);
    }
    let mut exprs = Vec::new();
    for (column, field) in plan
        .schema()
        .columns()
        .into_iter()
        .zip(plan.schema().fields())
    {
        let name = field.name().clone();
        let expr = Expr::Column(column);
        exprs.push(match is_list(field.data_type()) {
            true => cast(expr, DataType::Utf8).alias(name),
            false => expr,
        });
    }
    Ok(LogicalPlanBuilder::from(plan).project(exprs)?.build()?)
}

fn file_url(path: &str) -> Result<String> {
    let error = |e| Error::io(format!("write file \"{path}\""), e);
    let path = absolute(path).map_err(error)?;
    match path.parent() {
        Some(parent) if !parent.is_dir() => Err(Error::not_found(
            sqlstate::UNDEFINED_FILE,
            format!("directory \"{}\" does not exist", parent.display()),
        )),
        _ => Ok(path.to_string_lossy().into_owned()),
    }
}

fn writer_options(
    path: &str,
    format: Format,
    options: &CopyOptions,
) -> Result<HashMap<String, String>> {
    let mut written = HashMap::new();
    if matches!(format, Format::Csv | Format::Json) {
        let compression = options.compression_of(Path::new(path));
        if compression != CompressionTypeVariant::UNCOMPRESSED {
            written.insert("format.compression".to_string(), compression.to_string());
        }
    }
    if format == Format::Csv {
        let text = |byte: u8| char::from(byte).to_string();
        written.insert(
            "format.has_header".to_string(),
            options.header.unwrap_or(true).to_string(),
        );
        let delimiter = options.delimiter_of(Path::new(path));
        written.insert("format.delimiter".to_string(), text(delimiter));
        if let Some(quote) = options.quote {
            written.insert("format.quote".to_string(), text(quote));
        }
        if let Some(null) = &options.null {
            written.insert("format.null_value".to_string(), null.clone());
        }
    }
    Ok(written)
}
