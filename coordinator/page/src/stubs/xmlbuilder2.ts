/** Stands for a library by which vtk.js would write files; the page writes none. */
export function create(): never {
  throw new Error('the page writes no XML');
}
export const builder = create;
