//! The `shelfmark` program.

mod cli;

use std::process::ExitCode;

/// Keeps little of what was freed: the C library's allocator keeps several times what a clustering has in use.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Its options: as many arenas as processors, since each keeps freed pages of its own and four times as many, which is the
/// default, keep four times as much; a thread gives pages back after about this time, whether or not anybody allocates.
// SAFETY: jemalloc reads under this name a pointer to a text that ends with NUL, which a reference to such an array is.
#[cfg(feature = "jemalloc")]
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static ALLOCATOR_OPTIONS: &[u8; 74] =
    b"narenas_ratio:1,background_thread:true,dirty_decay_ms:10,muzzy_decay_ms:0\0";

fn main() -> ExitCode {
    cli::main()
}
