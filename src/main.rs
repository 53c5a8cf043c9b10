//! The program `claw`: see the library for everything.

fn main() -> std::process::ExitCode {
    // The helper forks, so it must be the only thread of its process: it comes before anything else.
    let helper = std::env::args_os().nth(1);
    if helper.is_some_and(|arg| arg == claw::sandbox::HELPER_ARGUMENT) {
        claw::sandbox::helper_main();
    }
    claw::cli::main()
}
