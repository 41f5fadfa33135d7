//! COPY between collections and the program's input and output.

use std::io::{self, BufRead, Write};

use arrow::array::AsArray;
use bytes::Bytes;
use futures::StreamExt;
use shelfmark::sql::{CopyFormat, CopyInput, Outcome};
use shelfmark::{Error, Result};

use super::print;
use super::shell::Failure;

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

/// Gives the lines that follow, to `\.` or the end, to a COPY .. FROM STDIN, and all bytes to one in the binary
/// format; `lines` counts them. How many rows came in.
pub async fn from_input(
    mut outcome: Outcome,
    format: CopyFormat,
    data: &mut dyn BufRead,
    lines: &mut u64,
) -> Result<u64> {
    let Some(input) = outcome.input.take() else {
        return Err(Error::internal("COPY .. FROM STDIN has no input"));
    };
    let sending = send(input, format, data, lines);
    let counting = print::count(outcome);
    let (_, counted) = tokio::join!(sending, counting);
    counted
}

async fn send(mut input: CopyInput, format: CopyFormat, data: &mut dyn BufRead, lines: &mut u64) {
    loop {
        let read = match format {
            CopyFormat::Text => {
                *lines += 1;
                next_line(data)
            }
            CopyFormat::Binary => next_bytes(data),
        };
        match read {
            // After an error the lines are read all the same: they are no statements.
            Ok(Some(bytes)) => drop(input.write(bytes).await),
            Ok(None) => return input.finish().await,
            Err(e) => return input.fail(&e.to_string()).await,
        }
    }
}

fn next_line(data: &mut dyn BufRead) -> io::Result<Option<Bytes>> {
    let mut line = Vec::new();
    data.read_until(b'\n', &mut line)?;
    let ends = line.is_empty() || matches!(line.as_slice(), b"\\." | b"\\.\n" | b"\\.\r\n");
    Ok((!ends).then(|| line.into()))
}

fn next_bytes(data: &mut dyn BufRead) -> io::Result<Option<Bytes>> {
    let bytes = Bytes::copy_from_slice(data.fill_buf()?);
    data.consume(bytes.len());
    Ok((!bytes.is_empty()).then_some(bytes))
}
