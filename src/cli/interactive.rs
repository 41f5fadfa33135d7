//! The prompt.

use std::path::PathBuf;

use rustyline::config::CompletionType;
use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Completer, Config, Editor, Helper, Highlighter, Hinter};
use shelfmark::Error;
use shelfmark::sql::split;

use super::complete::Names;
use super::report;
use super::script::Pending;
use super::shell::{Shell, Stop};

const PROMPT: &str = "shelfmark> ";
const HISTORY_ENTRIES_MAX: usize = 10_000;

/// Editing that ends a statement at its semicolon, not at the end of a line.
#[derive(Helper, Completer, Highlighter, Hinter)]
struct Prompt {
    #[rustyline(Completer)]
    names: Names,
}

impl Validator for Prompt {
    fn validate(&self, context: &mut ValidationContext) -> rustyline::Result<ValidationResult> {
        let input = context.input();
        let command = input.trim_start().starts_with('\\') || input.contains("\\gset");
        let whole = command || split(input).rest.is_none();
        Ok(if whole {
            ValidationResult::Valid(None)
        } else {
            ValidationResult::Incomplete
        })
    }
}

/// Reads statements from the terminal and runs them until `\q` or Ctrl-D.
///
/// # Errors
/// The terminal is gone.
pub fn run(shell: &mut Shell) -> Result<(), Stop> {
    let mut editor = match editor(shell) {
        Ok(editor) => editor,
        Err(e) => return Err(no_terminal(&e)),
    };
    shell.interactive = true;
    let history = history_file();
    if let Some(path) = &history {
        // There is none the first time.
        let _ = editor.load_history(path);
    }
    println!(
        "shelfmark {}. \\? for help, \\q to quit.",
        env!("CARGO_PKG_VERSION")
    );
    let stopped = prompt(shell, &mut editor);
    if let Some(path) = &history
        && let Err(e) = editor.save_history(path)
    {
        tracing::warn!("could not save the history to {}: {e}", path.display());
    }
    stopped
}

fn editor(shell: &Shell) -> rustyline::Result<Editor<Prompt, DefaultHistory>> {
    let config = Config::builder()
        .max_history_size(HISTORY_ENTRIES_MAX)?
        .history_ignore_space(true)
        .completion_type(CompletionType::List)
        .auto_add_history(true)
        .build();
    let mut editor = Editor::with_config(config)?;
    let names = Names::new(shell.runtime.clone(), shell.session.clone());
    editor.set_helper(Some(Prompt { names }));
    Ok(editor)
}

fn prompt(shell: &mut Shell, editor: &mut Editor<Prompt, DefaultHistory>) -> Result<(), Stop> {
    loop {
        let input = match editor.readline(PROMPT) {
            Ok(input) => input,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => return Ok(()),
            Err(e) => return Err(no_terminal(&e)),
        };
        shell.forget_interrupts();
        let mut pending = Pending::default();
        let mut steps: Vec<_> = input.lines().flat_map(|line| pending.push(line)).collect();
        steps.extend(pending.finish());
        for step in &steps {
            match shell.step(step, None) {
                Ok(()) => {}
                Err(Stop::Failed) => break,
                Err(stop) => return Err(stop),
            }
        }
    }
}

fn no_terminal(error: &ReadlineError) -> Stop {
    report::error(
        &Error::io(
            "read from the terminal",
            std::io::Error::other(error.to_string()),
        ),
        None,
    );
    Stop::Failed
}

/// `$XDG_STATE_HOME/shelfmark/history`, or `~/.shelfmark_history`.
fn history_file() -> Option<PathBuf> {
    if let Some(state) = std::env::var_os("XDG_STATE_HOME").filter(|s| !s.is_empty()) {
        let directory = PathBuf::from(state).join("shelfmark");
        std::fs::create_dir_all(&directory).ok()?;
        return Some(directory.join("history"));
    }
    Some(std::env::home_dir()?.join(".shelfmark_history"))
}
