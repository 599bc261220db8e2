const words =
  'Invoice Total Street Number delivery 2026 blue river 4711 Madrid quality Berlin window 39.90 EUR night train Oslo paper contract signed page 12 weight 0.75 kg morning Tokyo garden 100% market Friday zebra fox jumps over lazy dog quick brown house Lisbon 08:45 platform 3B ticket refund yellow bridge coffee'.split(
    ' ',
  );

/** Lines of two to four words. The same numbers give the same lines; `from` picks other ones. */
export function makeLines(count: number, from: number): readonly string[] {
  return Array.from({ length: count }, (_, line) => {
    const index = from + line;
    const places = Array.from({ length: 2 + (index % 3) }, (_, place) => place);
    return places.map((place) => words[(index * 7 + place * 11) % words.length]).join(' ');
  });
}
