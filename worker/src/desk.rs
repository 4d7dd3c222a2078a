//! Room for images between their bytes and their pictures: what jobs may hold of this machine's memory beside the model, its
//! cache, and the objects that are kept.
//!
//! A job takes room for its objects and pictures before it fetches the first of them, and then, image by image, room to decode.
//! Who has room to decode waits for nobody, so that all go on; what does not fit at all is refused with the numbers, where it
//! would otherwise end the process.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Pixels of a film of a large detector: 43 cm by 38 cm at 85 µm.
const FILM_PIXELS: u64 = 5_000 * 4_500;
/// Bytes of such a film: 16 bits a pixel.
const FILM_BYTES: u64 = 2 * FILM_PIXELS;
/// Most slices of a slab, more or less: as many pictures does a job hold.
const SLAB_PICTURES: u64 = 64;
/// The largest object and frame that are taken, in bytes while they are read.
const LARGEST_BYTES: u64 = 2 << 30;

/// An image that this worker has no room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{what} would take {} MiB of memory, and this worker has {mib} for them beside its model: give it more memory, or less of \
     --cache-mib, --object-cache-mib, --batch or --pass-tokens",
    mib_of(*.bytes)
)]
pub struct NoRoom {
    /// What is to be held.
    what: &'static str,
    /// What it takes.
    bytes: u64,
    /// What there is.
    mib: u32,
}

/// What is wanted of the host's memory for images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeskWish {
    /// Without it not even an ordinary film is read.
    pub least_bytes: u64,
    /// More is of no use.
    pub most_bytes: u64,
}

impl DeskWish {
    /// For so many jobs at once, prompts of so many pictures, and pictures of so many bytes.
    pub fn new(slots: usize, pictures_at_once: usize, picture_bytes: u64) -> Self {
        let (slots, at_once) = (slots as u64, pictures_at_once as u64);
        let film = 2 * FILM_BYTES + grey_bytes(FILM_PIXELS);
        let slab = FILM_BYTES + grey_bytes(FILM_PIXELS) + SLAB_PICTURES.max(at_once) * picture_bytes;
        Self { least_bytes: film + at_once * picture_bytes, most_bytes: slots * (film + slab) + LARGEST_BYTES }
    }
}

/// Bytes of an X-ray of native pixels while it becomes a picture.
fn grey_bytes(pixels: u64) -> u64 {
    look_bytes(pixels, false, false)
}

/// Bytes that a frame takes while it becomes a picture: decoded, rendered, and resized. One that is coded is twice in this process
/// and, in the decoder's, twice decoded and once as it is sent.
pub(crate) fn look_bytes(pixels: u64, is_coded: bool, is_colour: bool) -> u64 {
    let (decoded, rendered) = (if is_coded { 24 } else { 4 }, if is_colour { 8 } else { 4 });
    pixels * (decoded + rendered)
}

/// The room that there is.
pub struct Desk {
    held: Room,
    looked_at: Room,
}

struct Room {
    mib: u32,
    free: Arc<Semaphore>,
}

/// Room that is taken, until this is dropped.
pub struct Place(OwnedSemaphorePermit);

impl Desk {
    /// A desk of so many bytes, the least that is wished for or more.
    pub fn new(wish: DeskWish, bytes: u64) -> Self {
        let look = grey_bytes(FILM_PIXELS) + bytes.saturating_sub(wish.least_bytes) / 2;
        Self { held: Room::new(bytes.max(wish.least_bytes) - look), looked_at: Room::new(look) }
    }

    /// Takes room for objects and pictures of a job, as soon as there is.
    pub async fn hold(&self, bytes: u64) -> Result<Place, NoRoom> {
        self.held.take("the objects and pictures of the job", bytes).await
    }

    /// Takes room to decode a frame, as soon as there is.
    pub async fn look(&self, bytes: u64) -> Result<Place, NoRoom> {
        self.looked_at.take("the frame, while it is decoded,", bytes).await
    }
}

impl Place {
    /// Gives back all but so many bytes.
    pub fn keep(&mut self, bytes: u64) {
        let given = self.0.num_permits().saturating_sub(mib_of(bytes) as usize);
        drop(self.0.split(given));
    }
}

impl Room {
    fn new(bytes: u64) -> Self {
        let mib = mib_of(bytes).min(u64::from(u32::MAX)) as u32;
        Self { mib, free: Arc::new(Semaphore::new(mib as usize)) }
    }

    async fn take(&self, what: &'static str, bytes: u64) -> Result<Place, NoRoom> {
        let refused = NoRoom { what, bytes, mib: self.mib };
        let wanted = u32::try_from(mib_of(bytes)).ok().filter(|wanted| *wanted <= self.mib).ok_or(refused)?;
        // The semaphore is never closed.
        let taken = Arc::clone(&self.free).acquire_many_owned(wanted).await;
        taken.map(Place).map_err(|_| refused)
    }
}

fn mib_of(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn the_least_desk_takes_one_large_film_at_a_time() {
        let wish = DeskWish::new(4, 1, 100 << 10);
        assert!(wish.least_bytes < wish.most_bytes);
        let desk = Desk::new(wish, wish.least_bytes);
        let film = || desk.hold(2 * FILM_BYTES + (100 << 10)).now_or_never();
        let held = film().expect("there is room").unwrap();
        let _looked = desk.look(grey_bytes(FILM_PIXELS)).now_or_never().expect("there is room").unwrap();
        assert!(film().is_none(), "a second one waits");
        assert!(desk.look(grey_bytes(FILM_PIXELS)).now_or_never().is_none());
        drop(held);
        assert!(film().expect("there is room again").is_ok());
    }

    #[test]
    fn what_never_fits_is_refused_with_the_numbers() {
        let desk = Desk { held: Room::new(50 * MIB), looked_at: Room::new(50 * MIB) };
        let error = desk.look(600 * MIB).now_or_never().expect("it is not waited for").err().unwrap().to_string();
        assert!(error.contains("would take 600 MiB of memory, and this worker has 50"), "{error}");
        assert!(desk.hold(51 * MIB).now_or_never().unwrap().is_err());
        let mut place = desk.hold(50 * MIB).now_or_never().unwrap().unwrap();
        assert!(desk.hold(MIB).now_or_never().is_none());
        place.keep(10 * MIB);
        assert!(desk.hold(40 * MIB).now_or_never().is_some());
        assert!(desk.hold(41 * MIB).now_or_never().is_none());
    }
}
