/**
 * Brings more of a page's content: by a button that loads more, or by scrolling.
 *
 * @import { Locator, Page } from "playwright"
 */

import { pageOf, withNetworkSettledWait } from './settle.mjs';

/**
 * Click a button until it is hidden or disabled, until a click brings nothing, or `maxClicks` times.
 *
 * After each click, this waits until the network has settled, and then `clickDelay` milliseconds. A click has brought
 * something if the container has more than `noChangeThreshold` elements more; without a container it always has.
 *
 * @param {object} options
 * @param {Page} options.page
 * @param {Locator} options.buttonLocator
 * @param {() => unknown} [options.heartbeat] called after each click, and awaited
 * @param {Locator} [options.containerLocator]
 * @param {number} [options.maxClicks]
 * @param {number} [options.clickDelay]
 * @param {number} [options.noChangeThreshold]
 * @returns {Promise<void>}
 */
export async function clickUntilExhausted({
  page,
  buttonLocator,
  heartbeat,
  containerLocator,
  maxClicks = 50,
  clickDelay = 500,
  noChangeThreshold = 0,
}) {
  let size = (await containerLocator?.evaluateAll(elementsOf)) ?? 0;
  for (let clicks = 0; clicks < maxClicks; clicks++) {
    if (!(await buttonLocator.isVisible()) || !(await buttonLocator.isEnabled())) return;
    await withNetworkSettledWait(() => buttonLocator.click(), { page });
    await page.waitForTimeout(clickDelay);
    await heartbeat?.();
    if (containerLocator) {
      const before = size;
      size = await containerLocator.evaluateAll(elementsOf);
      if (size - before <= noChangeThreshold) return;
    }
  }
}

/**
 * Scroll a page, or the element of a locator, to its end until it grows by less than `minHeightChange` pixels, or
 * `maxScrolls` times. After each scroll, this waits until the network has settled, and then `delayInMs`.
 *
 * @param {object} options
 * @param {Page | Locator} options.source
 * @param {() => unknown} [options.onScrollProgress] called after each scroll, and awaited
 * @param {number} [options.maxScrolls]
 * @param {number} [options.delayInMs]
 * @param {number} [options.minHeightChange]
 * @returns {Promise<void>}
 */
export async function scrollToLoadContent({
  source,
  onScrollProgress,
  maxScrolls = 50,
  delayInMs = 100,
  minHeightChange = 100,
}) {
  const page = pageOf(source);
  const inside = async (call) => {
    const root = source === page ? await page.evaluateHandle(() => document.scrollingElement) : source;
    return root.evaluate(call);
  };
  let height = await inside(heightOf);
  for (let scrolls = 0; scrolls < maxScrolls; scrolls++) {
    await withNetworkSettledWait(() => inside(scrollToEnd), { page });
    await page.waitForTimeout(delayInMs);
    await onScrollProgress?.();
    const before = height;
    height = await inside(heightOf);
    if (height - before < minHeightChange) return;
  }
}

/* The page executes the functions below, so they use nothing of ours. */

/** @param {Element[]} containers */
const elementsOf = (containers) => containers.reduce((sum, each) => sum + 1 + each.querySelectorAll('*').length, 0);

/** @param {Element} element */
const heightOf = (element) => element.scrollHeight;

/** @param {Element} element */
const scrollToEnd = (element) => element.scrollTo({ top: element.scrollHeight, behavior: 'instant' });
