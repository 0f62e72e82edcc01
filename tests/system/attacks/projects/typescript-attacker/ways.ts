// What several attacks share: to try something, and to note what got through.

export type Through = Record<string, unknown>;

/** Try a way; whatever it returns, but null, has got through. */
export async function attempt(through: Through, what: string, way: () => unknown): Promise<void> {
  try {
    const got = (await way()) ?? null;
    if (got !== null) through[what] = got;
  } catch (error) {
    if (typeof (error as NodeJS.ErrnoException).errno !== 'number') through[what] = `the attack is broken: ${error}`;
  }
}
