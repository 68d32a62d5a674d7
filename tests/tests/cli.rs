//! Layer 4: what people see. The transcripts in `tests/cli/` are run as they stand; after a change
//! that is meant, `TRYCMD=overwrite cargo test -p nat-tests --test cli` writes them anew, and the
//! difference is for a person to read.

#[test]
fn transcripts() {
    let binary = nat_tests::lab::nat_ctl::find_binary().unwrap_or_else(|error| panic!("{error}"));
    trycmd::TestCases::new().register_bin("nat-ctl", binary).case("cli/*.trycmd").run();
}
