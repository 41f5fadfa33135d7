//! From text to plans: tokens, statements, and the plan nodes of our own statements.
//!
//! The life of a statement:
//! 1. [`tokens::tokenize`] makes tokens of the text and mends the operators that the tokenizer does not know.
//! 2. [`parser::parse`] recognises our own statements by their first words; everything else is DataFusion's. What is
//!    too complex ([`complexity`]) is refused before.
//! 3. [`session::Session`] pins one snapshot, and makes a `LogicalPlan` of the statement. Our own statements are
//!    extension nodes ([`command::CommandNode`], or those of `catalog::dml`) with fixed schemas.
//!    What a prepared statement needs not do again is in [`kept`].
//! 4. DataFusion optimises and executes the plan; a command acts when its node is executed, not before.

pub mod access;
pub(crate) mod aggregates;
mod alter;
pub(crate) mod any_element;
pub mod backends;
mod backup;
mod check;
mod clock;
pub mod command;
mod comment;
mod compaction;
mod complexity;
mod constraint;
mod context;
mod copy;
pub(crate) mod correlated;
mod create;
mod cursor;
mod ddl;
mod default_name;
mod define;
mod dependents;
mod dialect;
mod dml;
mod domains;
mod drop_types;
mod enums;
mod exact_operands;
pub(crate) mod explain;
mod export;
mod fixed_default;
mod foreign_key;
pub mod format;
mod from_columns;
pub(crate) mod functions;
mod generated;
mod grouping;
pub mod index;
mod interval_order;
mod interval_total;
mod kept;
pub mod keyless;
mod lazy;
pub(crate) mod literal;
mod literal_place;
mod live;
mod mend;
mod multiset;
mod named;
mod named_results;
mod names;
mod notice;
mod number_literal;
mod options;
mod origins;
mod output_names;
mod parameters;
pub mod parser;
mod partition;
pub(crate) mod pg_types;
mod prepared;
mod qualifier;
mod recursive;
pub(crate) mod relation;
mod rename_schema;
mod repeated;
mod scripts;
mod sequence;
pub mod session;
mod shapes;
pub mod stack;
mod statement;
mod temporary;
mod text_input;
mod text_output;
mod texts;
pub mod tokens;
pub mod transaction;
pub(crate) mod type_names;
mod types;
mod unique;
mod updatable;
mod variables;
pub(crate) mod vector_search;
mod versions;
mod walk;
mod whole_row;
pub(crate) mod windows;

pub use access::{FileAccess, redact};
pub(crate) use clock::ClockRule;
pub use complexity::Limits;
pub(crate) use copy::CopyPlanner;
pub use copy::{CopyFormat, CopyInput, CopyProgress, CopyShape};
pub(crate) use create::plan_view;
pub use cursor::CursorRow;
pub(crate) use grouping::GroupingKeysRule;
pub(crate) use interval_order::{IntervalFrameRule, IntervalOrderRule};
pub(crate) use interval_total::IntervalTotal;
pub use kept::ValuesPlanner;
pub(crate) use lazy::LazyRule;
pub use literal_place::literal_place;
pub(crate) use multiset::MultisetRule;
pub use named::Named;
pub(crate) use named_results::NamedResultRule;
pub use notice::{Notice, Severity};
pub(crate) use number_literal::NumberPlanner;
pub use origins::{is_cast, origin_of};
pub use prepared::Prepared;
pub(crate) use recursive::RecursiveTermsRule;
pub use repeated::{Recall, Repeated};
pub use session::{Outcome, Session, Tag};
pub(crate) use text_input::TextInputRule;
pub(crate) use text_output::{TextOutputRule, output_text};
pub use tokens::{Piece, Pieces, split};
pub use transaction::TransactionStatus;
pub(crate) use updatable::updatable_columns;
pub use variables::{SettingRow, Timeouts};
