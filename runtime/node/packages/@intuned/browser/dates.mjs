/** Reads dates. */

import * as chrono from 'chrono-node/en';

/**
 * Return the day that a text in English says, as midnight in UTC, or null if it says none.
 *
 * Of 01/02/2024, the month is the first number, unless it cannot be one. A time and its zone are ignored.
 *
 * @param {{date: string}} options
 * @returns {Date | null}
 */
export function processDate({ date }) {
  const day = chrono.strict.parse(date)[0]?.start;
  if (!day?.isCertain('year') || !day.isCertain('month')) return null;
  return new Date(Date.UTC(day.get('year'), day.get('month') - 1, day.get('day')));
}
