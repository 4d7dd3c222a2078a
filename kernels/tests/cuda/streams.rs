//! Streams, and the host beside them: results are the same in every order that is legal, and each wait that is left out shows.

use std::ffi::CStr;

use prelim_kernels::{Backend, Cuda, Precision, Span};

use crate::stand_in::StandIn;

/// Work of streams at once, as late as is legal, and in orders by chance.
const ORDERS: [u64; 10] = [0, 1, 2, 3, 5, 7, 11, 13, 17, 19];

/// The kinds of waits: of a stream for another, of the host for an event, and of the host for a stream.
const JOIN: &CStr = c"forget join";
const EVENT: &CStr = c"forget event";
const STREAM: &CStr = c"forget stream";

/// Something that a host does, what has to come of it, and its waits: of which kind, which of them, and what it is for.
struct Scene {
    name: &'static str,
    run: fn(&Cuda) -> Vec<f32>,
    wanted: fn() -> Vec<f32>,
    waits: &'static [(&'static CStr, u64, &'static str)],
}

const SCENES: [Scene; 6] = [
    Scene {
        name: "weights, where something was computed before",
        run: |cuda| {
            drop(cuda.buffer(5 << 20));
            // Of the same size: it gets the same memory.
            let kept = cuda.vector(&numbers(5 << 20)).expect("room");
            cuda.download(&kept, 64)
        },
        wanted: || numbers(64),
        waits: &[
            (JOIN, 1, "weights are written when what computed in their memory is done"),
            (EVENT, 1, "a piece of page-locked memory is written again when it is copied"),
            (STREAM, 1, "results are read when they are there"),
        ],
    },
    Scene {
        name: "a small weight",
        run: |cuda| {
            let kept = cuda.vector(&numbers(1000)).expect("room");
            cuda.download(&kept, 1000)
        },
        wanted: || numbers(1000),
        waits: &[(JOIN, 2, "what computes waits for weights"), (STREAM, 1, "results are read when they are there")],
    },
    Scene {
        name: "the end of loading",
        run: |cuda| {
            let kept = cuda.vector(&numbers(1000)).expect("room");
            cuda.reserve_for_passes(4096).expect("room");
            cuda.download(&kept, 1000)
        },
        wanted: || numbers(1000),
        waits: &[
            (STREAM, 1, "page-locked memory is given back when all of it is copied"),
            (STREAM, 2, "results are read when they are there"),
        ],
    },
    Scene {
        name: "what a pass sends",
        run: |cuda| {
            cuda.reserve_for_passes(8 << 20).expect("room");
            let sent = cuda.upload(&numbers(3 << 19)).expect("room");
            cuda.download(&sent, 64)
        },
        wanted: || numbers(64),
        waits: &[(EVENT, 1, "a piece of page-locked memory is written again when it is copied")],
    },
    Scene {
        name: "a device that is given up",
        run: |_| {
            let cuda = Cuda::open(0, Precision::F16).expect("the stand-in");
            drop(cuda.upload(&numbers(1000)).expect("room"));
            Vec::new()
        },
        wanted: Vec::new,
        waits: &[(STREAM, 1, "page-locked memory is given back when all of it is copied")],
    },
    Scene {
        name: "a device that is given up after a pass that may become a graph",
        run: |_| {
            let cuda = Cuda::open(0, Precision::F16).expect("the stand-in");
            cuda.reserve_for_passes(1 << 20).expect("room");
            drop(cuda.plan(&[Span { start: 0, tokens: 1, blocks: &[0], images: Vec::new() }], 16));
            Vec::new()
        },
        wanted: Vec::new,
        waits: &[(STREAM, 1, "page-locked memory is given back when all of it is copied")],
    },
];

fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|at| at as f32).collect()
}

/// Whether all is as it should be with streams in this order, and with this wait forgotten where one is.
fn is_right(stand_in: &StandIn, scene: &Scene, order: u64, forgotten: Option<(&CStr, u64)>) -> bool {
    let cuda = Cuda::open(0, Precision::F16).expect("the stand-in");
    let before = stand_in.host_counts().freed_too_early;
    stand_in.set(c"late", order);
    if let Some((kind, which)) = forgotten {
        stand_in.set(kind, which);
    }
    let found = (scene.run)(&cuda);
    if let Some((kind, _)) = forgotten {
        stand_in.set(kind, 0);
    }
    stand_in.set(c"late", 1);
    found == (scene.wanted)() && stand_in.host_counts().freed_too_early == before
}

#[test]
fn streams_may_go_on_in_any_order_that_is_legal() {
    let (_turn, stand_in) = StandIn::turn();
    for scene in &SCENES {
        for order in ORDERS {
            assert!(is_right(stand_in, scene, order, None), "{} in order {order}", scene.name);
        }
    }
}

#[test]
fn each_wait_that_is_left_out_shows_in_some_order() {
    let (_turn, stand_in) = StandIn::turn();
    if !stand_in.is_there() {
        // A real driver forgets nothing.
        return;
    }
    for scene in &SCENES {
        for (kind, which, reason) in scene.waits {
            let shows = ORDERS.into_iter().any(|order| !is_right(stand_in, scene, order, Some((kind, *which))));
            assert!(shows, "{}: nothing shows without wait {which} of {kind:?}: {reason}", scene.name);
        }
    }
}
