//! Packages, through the program: made, published, added, run, and refused when they are not what
//! was pinned.

mod changed;
mod contained;
mod fetched;
mod story;
mod yard;
