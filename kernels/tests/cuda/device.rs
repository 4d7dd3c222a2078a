//! What can be wrong with a device is said in words.

use prelim_kernels::{Attend, Backend, CacheShape, Cuda, DeviceError, Precision, Span};

use crate::stand_in::StandIn;

/// What opening a device says while the stand-in shows another one.
fn refusal(ordinal: usize, settings: &[(&std::ffi::CStr, u64, u64)]) -> String {
    let (_turn, stand_in) = StandIn::turn();
    settings.iter().for_each(|(name, value, _)| stand_in.set(name, *value));
    let opened = Cuda::open(ordinal, Precision::F16);
    settings.iter().for_each(|(name, _, usual)| stand_in.set(name, *usual));
    opened.err().expect("a refusal").to_string()
}

#[test]
fn a_device_that_cannot_serve_is_refused_with_the_reason() {
    assert_eq!(refusal(3, &[]), "no CUDA device 3: the driver finds 1");
    assert_eq!(refusal(0, &[(c"devices", 0, 1)]), "no CUDA device 0: the driver finds 0");
    assert_eq!(
        refusal(0, &[(c"driver", 11_080, 12_000)]),
        "CUDA driver for version 11.8 is too old: 12.0 is needed; install a newer driver"
    );
    assert_eq!(
        refusal(0, &[(c"major", 7, 8), (c"minor", 5, 0)]),
        "simulator is of compute capability 7.5: 8.0 is needed (Ampere, 2020, or newer)"
    );
}

#[test]
fn a_device_says_what_it_is() {
    let (_turn, _) = StandIn::turn();
    let cuda = Cuda::open(0, Precision::Bf16).expect("the stand-in");
    assert_eq!(cuda.name(), "cuda:0 (simulator, sm_80, bf16)");
    assert_eq!(cuda.memory().expect("memory").total_bytes, 4 << 30);
}

#[test]
fn each_of_several_devices_is_opened_by_its_number() {
    let (_turn, stand_in) = StandIn::turn();
    stand_in.set(c"devices", 2);
    let names = [0, 1].map(|ordinal| Cuda::open(ordinal, Precision::F16).map(|cuda| cuda.name()));
    stand_in.set(c"devices", 1);
    let names = names.map(|name| name.expect("the stand-in"));
    assert_eq!(names, ["cuda:0 (simulator, sm_80, f16)", "cuda:1 (simulator 1, sm_80, f16)"]);
}

#[test]
fn a_cache_that_does_not_fit_is_refused_and_leaves_the_memory_free() {
    let (_turn, _) = StandIn::turn();
    let cuda = Cuda::open(0, Precision::F16).expect("the stand-in");
    let before = cuda.memory().expect("memory").free_bytes;
    let shape = CacheShape { layers: 34, blocks: 100_000, block_tokens: 16, kv_heads: 4, head_dim: 256 };
    match cuda.cache(shape).err() {
        Some(DeviceError::OutOfMemory { what: "the cache", wanted_bytes, free_bytes }) => {
            assert_eq!((wanted_bytes, free_bytes), (34 * 2 * 100_000 * 16 * 4 * 256 * 2, Some(before)));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(cuda.memory().expect("memory").free_bytes, before);
    let heads = CacheShape { head_dim: 512, blocks: 1, ..shape };
    assert_eq!(cuda.cache(heads).err().expect("a refusal").to_string(), "no kernel for heads of 512 values");
}

#[test]
fn what_is_dropped_is_freed() {
    let (_turn, _) = StandIn::turn();
    let cuda = Cuda::open(0, Precision::F16).expect("the stand-in");
    let before = cuda.memory().expect("memory").free_bytes;
    let shape = crate::dense::Shape { rows: 20, inputs: 64, outputs: 32 };
    crate::dense::gated(&cuda, shape, prelim_kernels::Storage::Bf16, prelim_kernels::Activation::GeluTanh);
    assert_eq!(cuda.memory().expect("memory").free_bytes, before);
}

/// A context is one thread's, and the last who has something of a device may be on another.
#[test]
fn memory_is_freed_on_any_thread() {
    let (_turn, _) = StandIn::turn();
    let cuda = Cuda::open(0, Precision::F16).expect("the stand-in");
    let before = cuda.memory().expect("memory").free_bytes;
    let held = (cuda.vector(&[1.0; 64]).expect("room"), cuda.upload(&[1.0; 64]).expect("room"));
    std::thread::spawn(move || drop(held)).join().expect("the thread ends");
    assert_eq!(cuda.memory().expect("memory").free_bytes, before);
    cuda.reserve_for_passes(4096).expect("room");
    std::thread::spawn(move || drop(cuda)).join().expect("the thread ends");
    let cuda = Cuda::open(0, Precision::F16).expect("the stand-in");
    assert_eq!(cuda.memory().expect("memory").free_bytes, before);
}

#[test]
fn errors_that_only_newer_drivers_know_are_told_by_their_number() {
    let (_turn, stand_in) = StandIn::turn();
    let cuda = Cuda::open(0, Precision::F16).expect("the stand-in");
    for (error, said) in
        [(2, "CUDA_ERROR_OUT_OF_MEMORY, out of memory"), (999, "CUDA_ERROR_UNKNOWN, unknown error"), (913, "error 913")]
    {
        stand_in.set(c"wait error", error);
        let refused = cuda.memory();
        stand_in.set(c"wait error", 0);
        assert_eq!(refused.expect_err("a refusal").to_string(), format!("CUDA driver, memory: {said}"));
    }
    cuda.memory().expect("nothing is remembered of them");
}

/// What a rehearsal makes counts and runs nowhere.
#[test]
fn a_rehearsal_counts_memory_and_computes_nothing() {
    let (_turn, stand_in) = StandIn::turn();
    let cuda = Cuda::open(0, Precision::F16).expect("the stand-in");
    let (before, launches) = (cuda.memory().expect("memory").free_bytes, stand_in.counts().launches);
    let took = cuda.rehearse(|| {
        let first = cuda.buffer(1000);
        drop(cuda.upload(&[1.0; 64]).expect("room"));
        let second = cuda.upload(&[1.0; 65]).expect("room");
        assert_eq!(cuda.memory().expect("memory").free_bytes, before);
        assert_eq!(cuda.download(&second, 65), [0.0; 65]);
        drop(first);
    });
    // Arrays begin at multiples of 256 bytes; the last two were not there at once.
    assert_eq!(took, Some(4096 + 512));
    let shape = crate::dense::Shape { rows: 20, inputs: 64, outputs: 32 };
    let run = || crate::dense::gated(&cuda, shape, prelim_kernels::Storage::Bf16, prelim_kernels::Activation::GeluTanh);
    cuda.rehearse(|| drop(run()));
    assert_eq!(stand_in.counts().launches, launches);
    // And afterwards it computes again.
    run();
    assert!(stand_in.counts().launches > launches);
}

/// Only pieces of prompts may fill a tile of sixteen rows: a token has one for each head of a group.
#[test]
fn a_token_leaves_as_many_partial_sums_as_it_has_rows() {
    let (_turn, _) = StandIn::turn();
    let cuda = Cuda::open(0, Precision::F16).expect("the stand-in").with_split(64);
    let (heads, kv_heads, head_dim) = (4, 2, 64);
    let blocks: Vec<u32> = vec![0; 40];
    let took = |tokens: usize| {
        let attend = || {
            let shape = CacheShape { layers: 1, blocks: 1, block_tokens: 16, kv_heads, head_dim };
            let cache = cuda.cache(shape).expect("room");
            let plan = cuda.plan(&[Span { start: 640 - tokens, tokens, blocks: &blocks, images: Vec::new() }], 16);
            let (q, mut out) = (cuda.buffer(tokens * heads * head_dim), cuda.buffer(tokens * heads * head_dim));
            let (scale, window, plan, cache) = (1.0, None, &plan, &cache);
            cuda.attend(Attend { q: &q, heads, scale, window, plan, cache, layer: 0, out: &mut out });
        };
        cuda.rehearse(attend).expect("a device with memory of its own")
    };
    // Ten splits; each sum has its maximum and its total.
    let sums = |rows: usize| (rows * kv_heads * 10 * (head_dim + 2) * size_of::<f32>()) as u64;
    let (one, few) = (took(1), took(3));
    assert!(few - one > sums(16 - heads / kv_heads - 1), "{one} bytes for a token, {few} for three");
    assert!(one > sums(heads / kv_heads), "{one} bytes for a token");
}

#[test]
fn passes_compute_in_what_was_taken_ahead_and_beyond_it() {
    let (_turn, stand_in) = StandIn::turn();
    let cuda = Cuda::open(0, Precision::F16).expect("the stand-in");
    cuda.reserve_for_passes(4096).expect("room");
    let before = cuda.memory().expect("memory").free_bytes;
    let first = cuda.upload(&[1.0; 512]).expect("room");
    let second = cuda.upload(&[2.0; 512]).expect("room");
    assert_eq!(cuda.memory().expect("memory").free_bytes, before, "both were taken ahead");
    let third = cuda.upload(&[3.0; 512]).expect("room");
    assert_eq!(cuda.memory().expect("memory").free_bytes, before - 2048, "no more was");
    for (buffer, wanted) in [(&first, 1.0), (&second, 2.0), (&third, 3.0)] {
        assert_eq!(cuda.download(buffer, 512), [wanted; 512]);
    }
    drop(second);
    assert_eq!(cuda.download(&cuda.upload(&[4.0; 300]).expect("room"), 300), [4.0; 300]);
    assert_eq!(cuda.memory().expect("memory").free_bytes, before - 2048);
    stand_in.set(c"memory", 1 << 20);
    let refused = cuda.reserve_for_passes(2 << 20).err();
    stand_in.set(c"memory", 4 << 30);
    assert!(
        matches!(refused, Some(DeviceError::OutOfMemory { what: "passes", wanted_bytes: 0x20_0000, .. })),
        "{refused:?}"
    );
}

/// Pieces of page-locked memory are filled again only when they are copied: the stand-in copies as late as it may.
#[test]
fn what_is_larger_than_page_locked_memory_arrives_whole() {
    let (_turn, stand_in) = StandIn::turn();
    let cuda = Cuda::open(0, Precision::F16).expect("the stand-in");
    let values: Vec<f32> = (0..6 << 20).map(|at| at as f32).collect();
    for late in [1, 0] {
        stand_in.set(c"late", late);
        let sent = cuda.upload(&values).expect("room");
        // The first goes on to the other piece, which may have to be copied first.
        drop(cuda.upload(&values[..1]).expect("room"));
        let before = stand_in.host_counts();
        let small: Vec<_> = (0..3).map(|at| cuda.upload(&values[at..at + 100]).expect("room")).collect();
        assert!(!stand_in.is_there() || stand_in.host_counts() == before, "what is small is not waited for");
        let kept = cuda.vector(&values).expect("room");
        for (what, buffer) in [("sent", &sent), ("kept", &kept)] {
            assert!(cuda.download(buffer, values.len()) == values, "{what} differs");
        }
        for (at, buffer) in small.iter().enumerate() {
            assert_eq!(cuda.download(buffer, 100), values[at..at + 100]);
        }
    }
    stand_in.set(c"late", 1);
    // A row alone is longer than a piece, or many rows are.
    for shape in [(2, 5 << 20), (2600, 2048)].map(|(outputs, inputs)| (outputs, inputs)) {
        let (outputs, inputs) = shape;
        let bytes: Vec<u8> = (0..outputs * inputs).flat_map(|at| ((at % 1999) as f32).to_le_bytes()).collect();
        let view = prelim_kernels::WeightView::new(&bytes, prelim_kernels::Dtype::F32, outputs, inputs);
        let matrix = cuda.matrix(&[view], prelim_kernels::Storage::F32).expect("room");
        let mut row = cuda.buffer(inputs);
        for id in [0, outputs / 2, outputs - 1] {
            cuda.embed(prelim_kernels::Embed { table: &matrix, ids: &[id as u32], scale: 1.0, out: &mut row });
            let wanted = (0..inputs).map(|at| ((id * inputs + at) % 1999) as f32);
            assert!(cuda.download(&row, inputs).into_iter().eq(wanted), "row {id} of {outputs} x {inputs}");
        }
    }
}

#[test]
fn weights_lie_in_what_was_taken_for_them_and_are_freed_together() {
    let (_turn, _) = StandIn::turn();
    let cuda = Cuda::open(0, Precision::F16).expect("the stand-in");
    let bytes: Vec<u8> = (0..48 * 64).flat_map(|at| (at as f32).to_le_bytes()).collect();
    let view = prelim_kernels::WeightView::new(&bytes, prelim_kernels::Dtype::F32, 48, 64);
    let load = || {
        let matrix = cuda.matrix(&[view], prelim_kernels::Storage::F32).expect("room");
        let whole = cuda.gated(view, view, prelim_kernels::Storage::Int8).expect("room");
        (matrix, whole, cuda.vector(&[1.0; 48]).expect("room"))
    };
    let start = cuda.memory().expect("memory").free_bytes;
    let needed = cuda.rehearse(|| drop(load())).expect("a device with memory of its own");
    // 16 bits; eight bits and a scale for 32; f32.
    assert_eq!(needed, 48 * 64 * 2 + 96 * 64 + 96 * 2 * 2 + 128 + 256);
    cuda.reserve_for_weights(needed).expect("room");
    let before = cuda.memory().expect("memory").free_bytes;
    assert_eq!(before, start - needed);
    let weights = load();
    assert_eq!(cuda.memory().expect("memory").free_bytes, before, "all of them fit");
    let more = cuda.vector(&[2.0; 64]).expect("room");
    assert_eq!(cuda.memory().expect("memory").free_bytes, before - 256, "one more does not");
    assert_eq!(cuda.download(&weights.2, 48), [1.0; 48]);
    assert_eq!(cuda.download(&more, 64), [2.0; 64]);
    drop((weights, more, cuda));
    assert_eq!(Cuda::open(0, Precision::F16).expect("the stand-in").memory().expect("memory").free_bytes, start);
}
