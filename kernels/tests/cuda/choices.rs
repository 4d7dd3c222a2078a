//! Choosing tokens, against the reference.

use prelim_kernels::{ChoiceError, Cuda, Precision, Reference};

use crate::choose::{Case, check_choices};
use crate::stand_in::{StandIn, is_sanitized};

/// How far logarithms may be off: exponentials are of f32.
pub(crate) const TOLERANCE: f64 = 2e-6;

/// Less than a chunk of 4,096 tokens, just one, and several with a ragged end.
const VOCABULARIES: [usize; 6] = [1, 33, 704, 4096, 5000, 9_001];

fn cases() -> Vec<Case> {
    let vocabularies = if is_sanitized() { &VOCABULARIES[4..5] } else { &VOCABULARIES };
    vocabularies.iter().flat_map(|vocabulary| [Case::new(*vocabulary, 7), Case::flat(*vocabulary)]).collect()
}

#[test]
fn choices_agree_and_do_not_depend_on_the_rows_beside_them() {
    let (_turn, stand_in) = StandIn::turn();
    let cuda = Cuda::open(0, Precision::F16).expect("the stand-in");
    for case in cases() {
        let wanted = case.run(&Reference::default());
        stand_in.set(c"seed", 1);
        let found = case.run(&cuda);
        check_choices(&format!("{} tokens", case.vocabulary), &found, &wanted, TOLERANCE);
        if is_sanitized() {
            continue;
        }
        stand_in.set(c"seed", 77);
        assert_eq!(case.run(&cuda), found, "warps in another order");
        let alone = if case.vocabulary == 5000 { case.rows() } else { 0 };
        for row in 0..alone {
            assert_eq!(case.row(row).run(&cuda), found[row..=row], "row {row} alone");
        }
    }
}

#[test]
fn draws_agree_at_every_temperature_and_never_choose_what_cannot_be() {
    let (_turn, _) = StandIn::turn();
    let cuda = Cuda::open(0, Precision::F16).expect("the stand-in");
    check_choices("edges", &Case::edges().run(&cuda), &Case::edges().run(&Reference::default()), TOLERANCE);
}

#[test]
fn scores_that_nothing_can_be_chosen_from_are_refused() {
    let (_turn, _) = StandIn::turn();
    let cuda = Cuda::open(0, Precision::F16).expect("the stand-in");
    let case = || Case::new(4200, 11);
    for score in [f32::NAN, -f32::NAN, f32::INFINITY] {
        let found = case().with_score(4100, score).run(&cuda);
        assert!(found.iter().all(|choice| *choice == Err(ChoiceError::NotFinite)), "{score}");
        // It is no word, so nothing of it is asked.
        let found = case().with_score(2100, score).run(&cuda);
        check_choices("an excluded token", &found, &case().run(&Reference::default()), TOLERANCE);
    }
    let found = case().with_nothing_allowed().run(&cuda);
    assert!(found.iter().all(|choice| *choice == Err(ChoiceError::NothingAllowed)));
    let impossible = Case::flat(40);
    let impossible = (0..40).fold(impossible, |case, token| case.with_score(token, f32::NEG_INFINITY));
    assert!(impossible.run(&cuda).iter().all(|choice| *choice == Err(ChoiceError::NotFinite)));
    let few = (0..38).fold(Case::flat(40), |case, token| case.with_score(token, f32::NEG_INFINITY));
    check_choices("two tokens that can be", &few.run(&cuda), &few.run(&Reference::default()), TOLERANCE);
}

#[test]
fn a_greedy_choice_takes_three_launches_and_a_draw_a_step_for_each_four_bits() {
    let (_turn, stand_in) = StandIn::turn();
    let cuda = Cuda::open(0, Precision::F16).expect("the stand-in");
    let launches = |case: Case| {
        let before = stand_in.counts().launches;
        case.run(&cuda);
        stand_in.counts().launches - before
    };
    assert_eq!(launches(Case::flat(50).row(0)), 3, "greedy");
    assert_eq!(launches(Case::flat(50).row(1)), 3 + 9, "drawn from all");
    assert_eq!(launches(Case::flat(50).row(2)), 3 + 17, "drawn from a nucleus");
}
