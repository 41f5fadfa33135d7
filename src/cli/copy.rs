//! COPY between collections and the program's standard input and output.

use std::io::{self, Read, Write};

use arrow::array::AsArray;
use bytes::Bytes;
use futures::StreamExt;
use shelfmark::sql::{CopyInput, Outcome};
use shelfmark::{Error, Result};

use super::print;
use super::shell::Failure;

/// Bytes that are read at once.
const READ_BYTES: usize = 64 << 10;

/// Writes the bytes of a COPY .. TO STDOUT.
pub async fn to_stdout(mut outcome: Outcome, out: &mut impl Write) -> Result<(), Failure> {
    while let Some(batch) = outcome.stream.next().await {
        let batch = batch.map_err(Error::from)?;
        for payload in batch.column(0).as_binary::<i32>().iter().flatten() {
            out.write_all(payload)?;
        }
    }
    Ok(())
}

/// Gives standard input, to its end, to a COPY .. FROM STDIN; how many rows came in.
pub async fn from_stdin(mut outcome: Outcome) -> Result<u64> {
    let Some(input) = outcome.input.take() else {
        return Err(Error::internal("COPY .. FROM STDIN has no input"));
    };
    let sending = send(input);
    let counting = print::count(outcome);
    let (_, counted) = tokio::join!(sending, counting);
    counted
}

async fn send(mut input: CopyInput) {
    loop {
        match tokio::task::spawn_blocking(read_some).await {
            Ok(Ok(bytes)) if bytes.is_empty() => return input.finish().await,
            Ok(Ok(bytes)) if input.write(bytes.clone()).await => {}
            Ok(Ok(_)) => return,
            Ok(Err(e)) => return input.fail(&e.to_string()).await,
            Err(e) => return input.fail(&e.to_string()).await,
        }
    }
}

fn read_some() -> io::Result<Bytes> {
    let mut buffer = vec![0; READ_BYTES];
    let read = io::stdin().lock().read(&mut buffer)?;
    buffer.truncate(read);
    Ok(buffer.into())
}
