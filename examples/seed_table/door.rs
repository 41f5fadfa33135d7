//! The two doors of the database: an embedded session, and the Postgres wire protocol.

use std::error::Error as StdError;
use std::net::SocketAddr;
use std::sync::Arc;

use arrow::array::{AsArray, FixedSizeListArray, Float32Array};
use arrow::datatypes::{DataType, Field, Int64Type};
use bytes::{BufMut, BytesMut};
use datafusion::common::ScalarValue;
use futures::TryStreamExt;
use postgres_types::{IsNull, ToSql, Type, to_sql_checked};
use shelfmark::{Database, Error, Result, Session, sql::Prepared};
use tokio_postgres::{Client, NoTls, Statement};

/// How searches reach the database.
#[derive(Clone)]
pub enum Door {
    Embedded(Database),
    Wire(SocketAddr),
}

/// One client with a search that is prepared: `$1` is the vector, the parameters after it are bounds of the key.
pub enum Searcher {
    Embedded(Session, Arc<Prepared>),
    Wire(Client, Statement),
}

impl Door {
    /// A new client that has prepared `sql`.
    ///
    /// # Errors
    /// When it cannot connect or the statement is wrong.
    pub async fn prepare(&self, sql: &str) -> Result<Searcher> {
        match self {
            Self::Embedded(database) => {
                let session = database.session();
                let prepared = session.prepare(sql, &[]).await?;
                Ok(Searcher::Embedded(session, prepared))
            }
            Self::Wire(address) => {
                let mut config = tokio_postgres::Config::new();
                config.host(address.ip().to_string()).port(address.port());
                config.user("shelfmark").dbname("shelfmark");
                let (client, connection) = config.connect(NoTls).await.map_err(of_client)?;
                tokio::spawn(connection);
                let statement = client.prepare(sql).await.map_err(of_client)?;
                Ok(Searcher::Wire(client, statement))
            }
        }
    }
}

impl Searcher {
    /// The ids of the rows that the search finds.
    ///
    /// # Errors
    /// Those of the search.
    pub async fn search(&self, query: &[f32], bounds: &[i64]) -> Result<Vec<i64>> {
        match self {
            Self::Embedded(session, prepared) => {
                let mut parameters = vec![vector_value(query)?];
                parameters.extend(bounds.iter().map(|b| ScalarValue::Int64(Some(*b))));
                let outcome = session.execute(prepared, parameters).await?;
                let batches: Vec<_> = outcome.stream.try_collect().await?;
                let ids = batches
                    .iter()
                    .flat_map(|b| b.column(0).as_primitive::<Int64Type>().values());
                Ok(ids.copied().collect())
            }
            Self::Wire(client, statement) => {
                let query = WireVector(query);
                let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![&query];
                parameters.extend(bounds.iter().map(|b| b as &(dyn ToSql + Sync)));
                let rows = client.query(statement, &parameters).await;
                Ok(rows.map_err(of_client)?.iter().map(|r| r.get(0)).collect())
            }
        }
    }
}

fn vector_value(query: &[f32]) -> Result<ScalarValue> {
    let element = Arc::new(Field::new("element", DataType::Float32, false));
    let values = Arc::new(Float32Array::from(query.to_vec()));
    let list = FixedSizeListArray::try_new(element, query.len() as i32, values, None)?;
    Ok(ScalarValue::FixedSizeList(Arc::new(list)))
}

fn of_client(error: tokio_postgres::Error) -> Error {
    Error::internal(format!("the client failed: {error}")).with_source(error)
}

/// pgvector's binary format: dimensions, a reserved word, the elements, all big-endian.
#[derive(Debug)]
struct WireVector<'a>(&'a [f32]);

impl ToSql for WireVector<'_> {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> std::result::Result<IsNull, Box<dyn StdError + Sync + Send>> {
        out.put_u16(u16::try_from(self.0.len())?);
        out.put_u16(0);
        self.0.iter().for_each(|x| out.put_f32(*x));
        Ok(IsNull::No)
    }

    fn accepts(of: &Type) -> bool {
        of.name() == "vector"
    }

    to_sql_checked!();
}
