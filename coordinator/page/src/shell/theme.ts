/** Dark or light: as the system has it, until the reader chooses. */

const KEY = 'prelim.theme';

export type Theme = 'dark' | 'light';

const system = matchMedia('(prefers-color-scheme: light)');

export function theme(): Theme {
  const chosen = localStorage.getItem(KEY);
  if (chosen === 'light' || chosen === 'dark') return chosen;
  return system.matches ? 'light' : 'dark';
}

export function applyTheme(wanted: Theme = theme()): void {
  document.documentElement.dataset['theme'] = wanted;
}

system.addEventListener('change', () => applyTheme());

export function toggleTheme(): void {
  const next: Theme = theme() === 'dark' ? 'light' : 'dark';
  localStorage.setItem(KEY, next);
  applyTheme(next);
}
