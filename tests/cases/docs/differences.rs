//! The list of differences: its page in the documentation is the newest, and the
//! tests that it names exist.

use std::fs;

use messenger::compare::differences;

use super::super::layout::root;
use super::{Page, check};

#[test]
fn the_page_is_made_from_the_list() {
    let page = Page::read(&root().join("docs/differences.md"));
    check(&page, &differences::markdown());
}

#[test]
fn every_test_that_a_row_names_exists() {
    for row in differences::rows() {
        for test in &row.tests {
            assert!(exists(test), "{}: there is no test {test}", row.name);
        }
    }
}

/// A function of that name that is run as a test, alone or for each queue.
fn exists(test: &str) -> bool {
    let (modules, function) = test.rsplit_once("::").unwrap();
    let file = root().join("tests").join(modules.replace("::", "/"));
    let source = fs::read_to_string(file.with_extension("rs"))
        .or_else(|_| fs::read_to_string(file.join("mod.rs")))
        .unwrap_or_default();
    let alone = format!("#[test]\nfn {function}()");
    let for_each = source.split_once("on_both_queues!(");
    let for_each = for_each.and_then(|(_, rest)| rest.split_once(')'));
    let mut listed = for_each.unwrap_or_default().0.split(',').map(str::trim);
    source.contains(&alone) || listed.any(|name| name == function)
}

#[test]
fn a_test_that_there_is_not_is_found_out() {
    assert!(exists(
        "cases::docs::differences::every_test_that_a_row_names_exists"
    ));
    assert!(exists(
        "cases::jobs::crashes::a_worker_that_dies_after_processing"
    ));
    for none in [
        "cases::docs::differences::exists",
        "cases::docs::differences::nothing",
        "cases::nowhere::nothing",
        "cases::jobs::crashes::die_working",
    ] {
        assert!(!exists(none), "{none}");
    }
}
