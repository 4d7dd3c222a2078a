//! Kernels with one mistake each, to show that the tests see it; and the sound ones under sanitizers.
#![allow(clippy::print_stdout, reason = "what gives a mistake away is worth a look: run with --nocapture")]

use crate::stand_in::{SANITIZERS, build, folder, run};

/// A mistake that the sources know by this name, and the test that has to see it.
const MUTANTS: [(&str, &str); 29] = [
    ("MUTANT_MISSING_BARRIER", "operations::attention_over_the_cache_agrees"),
    ("MUTANT_MISSING_SECOND_BARRIER", "operations::attention_over_the_cache_agrees"),
    ("MUTANT_MISSING_WAIT", "operations::attention_over_the_cache_agrees"),
    ("MUTANT_DROPPED_TAIL", "operations::attention_over_the_cache_agrees"),
    ("MUTANT_WINDOW_OFF_BY_ONE", "operations::attention_over_the_cache_agrees"),
    ("MUTANT_SWAPPED_OPERANDS", "operations::the_vision_operations_agree"),
    ("MUTANT_STALE_MAXIMUM", "operations::the_vision_operations_agree"),
    ("MUTANT_INEXACT_SHRINK", "operations::attention_has_the_same_bits_however_prompts_are_cut_and_batched"),
    ("MUTANT_UNMERGED", "operations::attention_has_the_same_bits_however_prompts_are_cut_and_batched"),
    ("MUTANT_PREFIX_OF_NEIGHBOUR", "prefixes::sequences_that_share_a_prefix_have_the_bits_that_they_have_alone"),
    ("MUTANT_PREFIX_BEYOND_ITS_END", "prefixes::sequences_that_share_a_prefix_have_the_bits_that_they_have_alone"),
    ("MUTANT_LINEAR_MISSING_WAIT", "operations::linear_agrees_with_every_epilogue"),
    ("MUTANT_LINEAR_MISSING_BARRIER", "operations::linear_agrees_with_every_epilogue"),
    ("MUTANT_LINEAR_DROPPED_TAIL", "operations::linear_agrees_with_every_epilogue"),
    ("MUTANT_GATE_AND_UP_SWAPPED", "operations::gated_products_agree"),
    (
        "MUTANT_LINEAR_SCALE_OF_NEIGHBOUR",
        "operations::products_of_whole_numbers_have_the_bits_of_the_weights_that_they_stand_for",
    ),
    (
        "MUTANT_SECOND_SIXTEEN_FIRST",
        "operations::products_of_whole_numbers_have_the_bits_of_the_weights_that_they_stand_for",
    ),
    ("MUTANT_OVERFLOW", "operations::products_of_activations_beyond_the_range_of_f16_agree"),
    ("MUTANT_WRONG_SCALE", "operations::stacked_weights_agree"),
    ("MUTANT_ROTATED_BACKWARDS", "operations::attention_over_the_cache_agrees"),
    ("MUTANT_MAXIMUM_OF_WARP", "norms::a_product_of_a_norm_has_the_bits_of_the_product_of_its_rows"),
    ("MUTANT_MEAN_OF_SQUARES", "operations::norms_agree_beyond_the_range_of_f16"),
    ("MUTANT_NORM_WITHOUT_PADDING", "norms::a_product_of_a_norm_has_the_bits_of_the_product_of_its_rows"),
    ("MUTANT_CHOOSE_UNMASKED", "choices::choices_agree_and_do_not_depend_on_the_rows_beside_them"),
    ("MUTANT_CHOOSE_LATER_OF_EQUALS", "choices::choices_agree_and_do_not_depend_on_the_rows_beside_them"),
    ("MUTANT_CHOOSE_ONE_BUFFER", "choices::choices_agree_and_do_not_depend_on_the_rows_beside_them"),
    ("MUTANT_CHOOSE_FIRST_CHUNKS", "sizes::choices_from_many_chunks_agree"),
    ("MUTANT_CHOOSE_DROPPED_TAIL", "choices::choices_agree_and_do_not_depend_on_the_rows_beside_them"),
    ("MUTANT_NO_SWIZZLE", "counts::kernels_do_as_many_products_and_copies_as_their_headers_say"),
];

/// Reads beyond the weight's last row, whose results nobody keeps: only a sanitizer sees it.
const READS_OUT_OF_BOUNDS: &str = "MUTANT_LINEAR_DROPPED_TAIL";

#[test]
fn every_mistake_in_a_kernel_is_seen() {
    build("sound", &[]);
    for (mutant, test) in MUTANTS {
        let name = mutant.to_lowercase();
        let mistake = format!("-D{mutant}");
        let sanitized = mutant == READS_OUT_OF_BOUNDS;
        let mut flags = vec![mistake.as_str()];
        flags.extend(SANITIZERS.iter().filter(|_| sanitized));
        build(&name, &flags);
        let (passed, said) = run(&name, &[test], sanitized);
        assert!(!passed, "{mutant} is not seen by {test}");
        let reason = said
            .lines()
            .find(|line| ["simulator: ", "value ", "ERROR: ", " left: "].iter().any(|word| line.contains(word)));
        println!("{mutant}: {}", reason.unwrap_or("an end without a word"));
        assert!(!sanitized || said.contains("heap-buffer-overflow"), "{mutant}: {said}");
    }
}

#[test]
fn every_mistake_that_the_sources_know_is_in_the_table() {
    let sources = std::fs::read_dir(folder("../../kernels/cuda")).expect("the sources");
    let sources = sources.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_file());
    let text: String = sources.filter_map(|path| std::fs::read_to_string(path).ok()).collect();
    let conditions = ["#ifdef ", "#ifndef "].into_iter().flat_map(|condition| text.split(condition).skip(1));
    let names = conditions.filter_map(|rest| rest.lines().next()).filter(|name| name.starts_with("MUTANT_"));
    let known: std::collections::BTreeSet<&str> = names.collect();
    assert_eq!(known, MUTANTS.iter().map(|(mutant, _)| *mutant).collect());
}

/// Reads and writes out of bounds, and what C++ leaves undefined.
#[test]
fn the_sound_kernels_pass_under_sanitizers() {
    build("sanitized", &SANITIZERS);
    let mut tests: Vec<&str> = MUTANTS.iter().map(|(_, test)| *test).collect();
    tests.push("operations::embeddings_agree");
    // More of the same addresses would take minutes.
    tests.retain(|test| !test.contains("same_bits") && !test.starts_with("sizes::"));
    tests.sort_unstable();
    tests.dedup();
    let (passed, said) = run("sanitized", &tests, true);
    assert!(passed, "{said}");
}
