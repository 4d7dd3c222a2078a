/** Dark by default, as reading rooms are; light where the reader chose it. */

const KEY = 'prelim.theme';

export type Theme = 'dark' | 'light';

export function theme(): Theme {
  return localStorage.getItem(KEY) === 'light' ? 'light' : 'dark';
}

export function applyTheme(wanted: Theme = theme()): void {
  document.documentElement.dataset['theme'] = wanted;
}

export function toggleTheme(): void {
  const next: Theme = theme() === 'dark' ? 'light' : 'dark';
  localStorage.setItem(KEY, next);
  applyTheme(next);
}
