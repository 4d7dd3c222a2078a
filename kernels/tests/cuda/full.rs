//! A device whose memory ends in the middle of a pass: what is asked next says so, nothing is computed until then, and the pass
//! after that is as any other.

use std::panic::{AssertUnwindSafe, catch_unwind};

use prelim_kernels::{Activation, Backend, Choose, Cuda, DeviceError, Pick, Precision, Storage};

use crate::dense::{self, Shape};
use crate::stand_in::StandIn;

const SHAPE: Shape = Shape { rows: 20, inputs: 64, outputs: 32 };

/// Leaves so many bytes of the stand-in's memory free while something runs.
fn with_free<R>(stand_in: &StandIn, cuda: &Cuda, bytes: u64, run: impl FnOnce() -> R) -> R {
    let memory = cuda.memory().expect("memory");
    stand_in.set(c"memory", memory.total_bytes - memory.free_bytes + bytes);
    let result = run();
    stand_in.set(c"memory", memory.total_bytes);
    result
}

fn gated(cuda: &Cuda) -> Vec<f32> {
    dense::gated(cuda, SHAPE, Storage::F32, Activation::GeluTanh)
}

#[test]
fn a_pass_without_memory_computes_nothing_and_says_so_once() {
    let (_turn, stand_in) = StandIn::turn();
    if !stand_in.is_there() {
        // The memory of a real device is not ours to take.
        return;
    }
    let cuda = Cuda::open(0, Precision::F16).expect("the stand-in");
    let (wanted, launches) = (gated(&cuda), stand_in.counts().launches);
    with_free(stand_in, &cuda, 5000, || {
        let first = cuda.buffer(1000);
        let mut second = cuda.buffer(500);
        // Its memory would fit, and it belongs to a pass that came to nothing.
        let third = cuda.upload(&[1.0; 10]).expect("a device that is there");
        cuda.place_rows(prelim_kernels::PlaceRows {
            from: &third,
            first: 0,
            rows: 1,
            width: 10,
            at: 0,
            out: &mut second,
        });
        assert_eq!(cuda.memory().expect("memory").free_bytes, 1000, "only the first is there");
        let error = cuda.had_room().expect_err("the second is not");
        assert_eq!(error.to_string(), "out of device memory: 2000 bytes wanted for activations, 1000 are free");
        cuda.had_room().expect("the next pass begins anew");
        drop(first);
        // What is read is not taken for a result.
        let read = catch_unwind(AssertUnwindSafe(|| cuda.download(&cuda.buffer(2000), 2000)));
        let said = read.expect_err("a panic").downcast::<String>().expect("words");
        assert!(said.contains("8000 bytes wanted for activations, 5000 are free"), "{said}");
        let scores = cuda.upload(&[0.5; 1000]).expect("a device that is there");
        let rows = [Pick { likely: 1000, ..Pick::default() }];
        let choices = cuda.choose(Choose { scores: &scores, vocabulary: 1000, excluded: None, rows: &rows });
        let error = choices.expect_err("no room for what is likely").to_string();
        assert!(error.starts_with("out of device memory: 8000 bytes wanted for choices, "), "{error}");
    });
    assert_eq!(stand_in.counts().launches, launches, "something was computed");
    assert_eq!(gated(&cuda), wanted);
}

/// Memory for kernels is taken when they are loaded: in a rehearsal, and where there was none, in a pass.
#[test]
fn a_kernel_without_memory_is_no_loss_of_the_device() {
    let (_turn, stand_in) = StandIn::turn();
    if !stand_in.is_there() {
        return;
    }
    let wanted = gated(&Cuda::open(0, Precision::F16).expect("the stand-in"));
    let cuda = Cuda::open(0, Precision::F16).expect("the stand-in");
    let mut buffer = cuda.buffer(64);
    let mut add = || {
        let x = cuda.upload(&[1.0; 64]).expect("a device that is there");
        cuda.add_rows(prelim_kernels::AddRows { x: &x, scale: None, rows: 1, width: 64, out: &mut buffer });
    };
    let refusals = with_free(stand_in, &cuda, 1000, || {
        add();
        let in_pass = cuda.had_room();
        cuda.rehearse(&mut add);
        [in_pass, cuda.reserve_for_passes(256)]
    });
    for refusal in refusals {
        let said = refusal.expect_err("no memory").to_string();
        assert!(said.starts_with("CUDA driver, start of a pass: "), "{said}");
        assert!(said.contains("for add_rows, ") && said.ends_with(" bytes are free"), "{said}");
    }
    add();
    cuda.had_room().expect("room for all");
    assert_eq!(gated(&cuda), wanted);
    let refused = with_free(stand_in, &cuda, 1000, || cuda.upload(&[1.0; 300]).map(drop).and(cuda.had_room()));
    assert!(matches!(refused, Err(DeviceError::OutOfMemory { what: "a buffer", .. })), "{refused:?}");
}
