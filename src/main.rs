//! The program `claw`: see the library for everything.

mod allocator;

#[global_allocator]
static ALLOCATOR: allocator::ByRole = allocator::ByRole;

fn main() -> std::process::ExitCode {
    // The helper forks, so it must be the only thread of its process: it comes before anything else.
    let role = std::env::args_os().nth(1);
    if role.as_ref().is_some_and(|arg| arg == claw::sandbox::HELPER_ARGUMENT) {
        claw::sandbox::helper_main();
    }
    if role.is_some_and(|arg| arg == claw::sandbox::CONTAINER_ARGUMENT) {
        claw::sandbox::container_main();
    }
    claw::cli::main()
}
