mod bench;
mod differences;
mod examples;
mod model;
mod properties;
