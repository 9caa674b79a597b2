//! The binary from outside: arguments and files in; exit status, standard output and standard error out.

mod bad_input;
mod export;
mod fine_tuning;
mod models;
mod run_folder;
mod stopping;
mod support;
mod whole_way;
