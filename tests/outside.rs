//! Agents from outside, through the real program: run as they are, heard, graded and shown.

mod blackbox;
mod openclaw;
