//! The `postrider` program.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// A third of what a worker does for a job that does nothing is asking for memory: this one answers
/// soonest.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    postrider::cli::main()
}
