//! The language: what programs become, and what is said about wrong ones.

mod binding;
mod chaos;
pub(crate) mod checked;
mod hashing;
mod limits;
mod pages;
mod policies;
mod programs;
mod values;
mod wrong;
