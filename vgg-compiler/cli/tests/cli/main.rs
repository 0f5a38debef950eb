//! The `vgg` command as its users run it: what it prints, writes and returns.

mod bench;
mod build;
mod export;
mod images;
mod import;
mod interrupt;
mod list_show;
mod mistakes;
mod precision;
mod run;
mod support;
mod verify;
mod weights;
