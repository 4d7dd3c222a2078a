//! Memory for weights that are packed at load, in large pages where the system has them.
//!
//! A product of a few rows reads every weight once. A core that reads 4 KiB pages one after the other waits for their
//! addresses as long as for their bytes, under a hypervisor above all: unpacking 32 numbers of eight bits from memory took 3.5
//! to 5 ns in small pages, and 2.5 in large ones (Xeon with AMX, one thread).

use std::io;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

#[cfg(target_os = "linux")]
use memmap2::Advice;
use memmap2::MmapMut;

use crate::backend::DeviceError;

/// Numbers of which zero bytes are one.
///
/// # Safety
/// Any bytes are a value of the type, and it is aligned within a page.
pub(super) unsafe trait Number: Copy + Send + Sync {}

// SAFETY: a number of any bits.
unsafe impl Number for u8 {}
// SAFETY: as above.
unsafe impl Number for u16 {}
// SAFETY: as above.
unsafe impl Number for f32 {}

#[cfg(test)]
std::thread_local! {
    /// Bytes that this thread has mapped so far.
    pub(super) static MAPPED: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// A slice of numbers that begins on a page. The system is asked for large pages; where it lends none, nothing but time is
/// lost.
#[derive(Debug)]
pub(super) struct Pages<T: Number> {
    map: MmapMut,
    len: usize,
    numbers: PhantomData<T>,
}

impl<T: Number> Pages<T> {
    /// So many zeros, for a weight.
    ///
    /// # Errors
    /// Where the system has no memory.
    pub(super) fn zeroed(len: usize) -> Result<Self, DeviceError> {
        let wanted_bytes = (len as u64).saturating_mul(size_of::<T>() as u64);
        let refused = |_| DeviceError::OutOfMemory { what: "a weight", wanted_bytes, free_bytes: None };
        Self::map(len).map_err(refused)
    }

    /// So many zeros in memory that is there from now on: what is used later cannot fail for lack of it.
    ///
    /// # Errors
    /// Where the system has no memory.
    pub(super) fn held(len: usize) -> io::Result<Self> {
        let pages = Self::map(len)?;
        #[cfg(target_os = "linux")]
        match pages.map.advise(Advice::PopulateWrite) {
            Err(error) if error.kind() == io::ErrorKind::OutOfMemory => return Err(error),
            // A kernel that cannot, as those before 5.14, gives memory when it is written.
            _ => {}
        }
        Ok(pages)
    }

    fn map(len: usize) -> io::Result<Self> {
        let bytes = len.checked_mul(size_of::<T>()).ok_or(io::ErrorKind::OutOfMemory)?;
        let map = MmapMut::map_anon(bytes)?;
        #[cfg(test)]
        MAPPED.set(MAPPED.get() + bytes as u64);
        // A kernel without large pages refuses, which is of no matter.
        #[cfg(target_os = "linux")]
        let _ = map.advise(Advice::HugePage);
        Ok(Self { map, len, numbers: PhantomData })
    }
}

impl<T: Number> Deref for Pages<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: so many bytes were mapped, from a page on, and any bytes are numbers.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().cast(), self.len) }
    }
}

impl<T: Number> DerefMut for Pages<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and they are borrowed from their one owner.
        unsafe { std::slice::from_raw_parts_mut(self.map.as_mut_ptr().cast(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_begin_as_zeros_and_stay_as_they_are_written() {
        for len in [0, 1, 1_000, (3 << 20) + 5] {
            let mut pages = Pages::<u16>::zeroed(len).unwrap();
            assert!(pages.len() == len && pages.iter().all(|number| *number == 0));
            pages.iter_mut().enumerate().for_each(|(index, number)| *number = index as u16);
            assert!(pages.iter().enumerate().all(|(index, number)| *number == index as u16));
        }
    }

    #[test]
    fn memory_that_is_held_is_zero_as_well_and_more_than_there_is_is_refused() {
        assert!(Pages::<u16>::held(1 << 20).unwrap().iter().all(|number| *number == 0));
        assert_eq!(Pages::<f32>::held(usize::MAX / 2).unwrap_err().kind(), io::ErrorKind::OutOfMemory);
        assert!(Pages::<u8>::held(1 << 60).is_err());
        let refused = Pages::<u16>::zeroed(1 << 60).unwrap_err().to_string();
        assert_eq!(refused, "out of device memory: 2305843009213693952 bytes wanted for a weight");
    }

    #[test]
    fn a_matrix_begins_on_a_line_of_the_cache() {
        assert!(Pages::<f32>::zeroed(40).unwrap().as_ptr().addr().is_multiple_of(64));
    }
}
