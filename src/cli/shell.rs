//! Runs statements and meta commands one by one, and prints what they answer.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use futures::StreamExt;
use shelfmark::error::{ErrorKind, sqlstate};
use shelfmark::sql::{Outcome, Piece, Session, Tag, split};
use shelfmark::{Error, Result};
use tokio::runtime::Handle;

use super::args::{Format, SqlArgs};
use super::interrupt::Interrupt;
use super::print::{self, Printed, Printer, TextRow};
use super::script::{Pending, Step};
use super::variables::Variables;
use super::{copy, meta, progress, report};

/// Scripts that call scripts may not nest deeper: a script that calls itself would never end.
const INCLUDE_DEPTH_MAX: usize = 16;

/// Why input is not read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// `\q`.
    Quit,
    /// A statement failed; the error has been printed.
    Failed,
    /// Nobody reads our output any more.
    OutputClosed,
}

/// What a statement or meta command can end with.
#[derive(Debug)]
pub enum Failure {
    /// An error to be printed.
    Error(Error),
    /// The end of this input.
    Stop(Stop),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<Stop> for Failure {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Stop(Stop::OutputClosed),
            _ => Self::Error(Error::io("print", error)),
        }
    }
}

/// A session, and how its answers are shown.
pub struct Shell {
    pub runtime: Handle,
    pub session: Session,
    pub format: Format,
    pub expanded: bool,
    pub timing: bool,
    /// Whether a person types the statements.
    pub interactive: bool,
    /// Whether the statements that come are one transaction.
    together: bool,
    pub out: BufWriter<io::Stdout>,
    variables: Variables,
    quiet: bool,
    interrupt: Interrupt,
    include_depth: usize,
    /// Lines that the statement before read as data.
    data_lines: u64,
}

impl Shell {
    /// A shell over a session.
    pub fn new(runtime: Handle, session: Session, args: &SqlArgs) -> Self {
        Self {
            runtime,
            session,
            format: args.format,
            expanded: false,
            timing: false,
            interactive: false,
            together: false,
            out: BufWriter::new(io::stdout()),
            variables: Variables::default(),
            quiet: args.quiet,
            interrupt: Interrupt::install(),
            include_depth: 0,
            data_lines: 0,
        }
    }

    /// Runs the statements of a text, several as one transaction, as psql does; stops at the first that fails.
    ///
    /// # Errors
    /// Why not all of it was run.
    pub fn text(&mut self, text: &str) -> Result<(), Stop> {
        let pieces = split(text);
        self.together = pieces.complete.len() + usize::from(pieces.rest.is_some()) > 1;
        let done = self.lines(text.as_bytes(), true);
        self.together = false;
        let ended = self.runtime.block_on(self.session.end_implicit());
        done?;
        ended.map_err(|e| {
            report::error(&e, None);
            Stop::Failed
        })
    }

    /// Runs the statements of a file ("-" is standard input); stops at the first that fails.
    ///
    /// # Errors
    /// Why not all of it was run. `\q` ends the file, not what called it.
    pub fn file(&mut self, path: &Path) -> Result<(), Stop> {
        if path == Path::new("-") {
            return self.standard_input();
        }
        let opened = File::open(path).and_then(|f| match f.metadata()?.is_dir() {
            true => Err(io::ErrorKind::IsADirectory.into()),
            false => Ok(f),
        });
        let done = match opened {
            Ok(file) => self.lines(BufReader::new(file), false),
            Err(e) => {
                report::error(&Error::unreadable(path, &e), None);
                return Err(Stop::Failed);
            }
        };
        match done {
            Err(Stop::Quit) => Ok(()),
            Err(Stop::Failed) => {
                eprintln!("{} stopped here.", path.display());
                Err(Stop::Failed)
            }
            done => done,
        }
    }

    /// Runs the statements of another script, called from this one.
    ///
    /// # Errors
    /// As [`Shell::file`]; 54001 when scripts nest too deeply.
    pub fn include(&mut self, path: &Path) -> Result<(), Failure> {
        if self.include_depth == INCLUDE_DEPTH_MAX {
            let message = format!("scripts are nested more than {INCLUDE_DEPTH_MAX} deep");
            return Err(Error::limit(sqlstate::STATEMENT_TOO_COMPLEX, message).into());
        }
        self.include_depth += 1;
        let done = self.file(path);
        self.include_depth -= 1;
        Ok(done?)
    }

    /// Runs the statements of standard input as they come.
    ///
    /// # Errors
    /// Why not all of it was run.
    pub fn standard_input(&mut self) -> Result<(), Stop> {
        self.lines(io::stdin().lock(), false)
    }

    /// Runs the statements of an input. What COPY .. FROM STDIN reads comes from the process's standard input if
    /// `apart`, or else follows its statement.
    fn lines(&mut self, mut input: impl BufRead, apart: bool) -> Result<(), Stop> {
        let mut pending = Pending::default();
        let mut line = Vec::new();
        loop {
            line.clear();
            match input.read_until(b'\n', &mut line) {
                Ok(0) => break,
                Ok(_) => {}
                Err(e) => {
                    report::error(&Error::io("read the script", e), None);
                    return Err(Stop::Failed);
                }
            }
            let Ok(line) = std::str::from_utf8(&line) else {
                let code = sqlstate::CHARACTER_NOT_IN_REPERTOIRE;
                report::error(&Error::invalid(code, "the script is not UTF-8"), None);
                return Err(Stop::Failed);
            };
            for step in pending.push(line.trim_end_matches(['\n', '\r'])) {
                self.step(&step, (!apart).then_some(&mut input as _))?;
                pending.pass(std::mem::take(&mut self.data_lines));
            }
        }
        match pending.finish() {
            Some(step) => self.step(&step, (!apart).then_some(&mut input as _)),
            None => Ok(()),
        }
    }

    /// Runs one statement or meta command, and prints its error if it has one. COPY .. FROM STDIN reads `data`,
    /// or standard input where there is none.
    ///
    /// # Errors
    /// Why the input should not be read further, were it a script.
    pub fn step(&mut self, step: &Step, data: Option<&mut dyn BufRead>) -> Result<(), Stop> {
        let done = match step {
            Step::Statement(piece) => {
                let text = self.variables.put_into(&piece.text);
                match data {
                    Some(data) => self.statement(&text, data),
                    None => self.statement(&text, &mut io::stdin().lock()),
                }
            }
            Step::Store(piece, prefix) => self.store(&self.variables.put_into(&piece.text), prefix),
            Step::Meta(line) => meta::run(self, line),
        };
        let done = done.and_then(|()| Ok(self.out.flush()?));
        done.map_err(|failure| match failure {
            Failure::Stop(stop) => stop,
            Failure::Error(e) => {
                // What was printed before the error should stand before it.
                let _ = self.out.flush();
                report::error(&e, step.piece());
                Stop::Failed
            }
        })
    }

    /// Ctrl-C that was pressed at the prompt stops nothing.
    pub fn forget_interrupts(&self) {
        self.interrupt.forget();
    }

    /// Runs one statement and prints its answer. COPY .. FROM STDIN reads `data`.
    ///
    /// # Errors
    /// The statement's error; 57014 when Ctrl-C stopped it.
    pub fn statement(&mut self, text: &str, data: &mut dyn BufRead) -> Result<(), Failure> {
        if self.together {
            self.session.begin_implicit();
        }
        let started = Instant::now();
        let bar = progress::start(&self.runtime, &self.session, text);
        let runtime = self.runtime.clone();
        let interrupt = self.interrupt.clone();
        let done = runtime.block_on(async {
            tokio::select! {
                biased;
                () = interrupt.wait() => Err(cancelled().into()),
                done = self.answer(text, data) => done,
            }
        });
        drop(bar);
        self.print_notices();
        if done.is_err() {
            self.session.statement_failed();
        }
        done?;
        if self.timing {
            writeln!(self.out, "Time: {}", show_time(started.elapsed()))?;
        }
        Ok(())
    }

    /// Runs one statement and keeps its only row as variables, the names of its columns behind `prefix`.
    fn store(&mut self, text: &str, prefix: &str) -> Result<(), Failure> {
        let rows = self.text_rows(text)?;
        let [row] = rows.as_slice() else {
            let message = format!("\\gset takes one row, and the statement has {}", rows.len());
            return Err(Error::invalid(sqlstate::INVALID_PARAMETER_VALUE, message).into());
        };
        for (name, value) in row {
            self.variables.set(format!("{prefix}{name}"), value.clone());
        }
        Ok(())
    }

    /// Runs one statement to its end; its rows as names and texts.
    ///
    /// # Errors
    /// The statement's error; 57014 when Ctrl-C stopped it.
    pub fn text_rows(&self, text: &str) -> Result<Vec<TextRow>> {
        let bar = progress::start(&self.runtime, &self.session, text);
        let rows = self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = self.interrupt.wait() => Err(cancelled()),
                rows = print::text_rows(&self.session, text) => rows,
            }
        });
        drop(bar);
        self.print_notices();
        rows.inspect_err(|_| self.session.statement_failed())
    }

    fn print_notices(&self) {
        self.session.take_notices().iter().for_each(report::notice);
    }

    async fn answer(&mut self, text: &str, data: &mut dyn BufRead) -> Result<(), Failure> {
        let outcome = self.session.run(text).await?;
        match outcome.tag.clone() {
            Tag::Rows | Tag::Shown(_) | Tag::Fetched { .. } => {
                self.print_rows(outcome).await.map(drop)
            }
            tag @ Tag::Returned(_) => {
                let rows = self.print_rows(outcome).await?;
                self.print_tag(&tag.text(rows))
            }
            Tag::Count(word) => {
                let count = print::count(outcome).await?;
                self.print_tag(&format!("{word} {count}"))
            }
            Tag::Done(word) => {
                print::drain(outcome).await?;
                self.print_tag(word)
            }
            Tag::CopyOut(_) => copy::to_stdout(outcome, &mut self.out).await,
            Tag::CopyIn(shape) => {
                let count =
                    copy::from_input(outcome, shape.format, data, &mut self.data_lines).await?;
                self.print_tag(&format!("COPY {count}"))
            }
        }
    }

    async fn print_rows(&mut self, outcome: Outcome) -> Result<u64, Failure> {
        let Outcome {
            schema, mut stream, ..
        } = outcome;
        let mut printer = Printer::new(self.format, self.expanded, &schema);
        while let Some(batch) = stream.next().await {
            printer.write(&batch.map_err(Error::from)?, &mut self.out)?;
        }
        let Printed { rows, counted } = printer.finish(&mut self.out)?;
        if counted && !self.quiet {
            let word = if rows == 1 { "row" } else { "rows" };
            writeln!(self.out, "({rows} {word})")?;
        }
        if self.format.is_for_reading() {
            writeln!(self.out)?;
        }
        Ok(rows)
    }

    fn print_tag(&mut self, tag: &str) -> Result<(), Failure> {
        if !self.quiet && self.format.is_for_reading() {
            writeln!(self.out, "{tag}")?;
        }
        Ok(())
    }
}

impl Step {
    fn piece(&self) -> Option<&Piece> {
        match self {
            Self::Statement(piece) | Self::Store(piece, _) => Some(piece),
            Self::Meta(_) => None,
        }
    }
}

fn cancelled() -> Error {
    let message = "the statement was cancelled by Ctrl-C";
    Error::new(ErrorKind::Cancelled, sqlstate::QUERY_CANCELED, message)
}

fn show_time(time: Duration) -> String {
    let milliseconds = time.as_secs_f64() * 1e3;
    if milliseconds < 1e3 {
        format!("{milliseconds:.3} ms")
    } else {
        format!(
            "{milliseconds:.0} ms ({})",
            humantime::format_duration(Duration::from_secs(time.as_secs()))
        )
    }
}
