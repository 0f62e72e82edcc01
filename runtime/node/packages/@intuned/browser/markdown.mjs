/**
 * Makes markdown of what a page shows.
 *
 * @import { Locator, Page } from "playwright"
 */

import gfm from '@joplin/turndown-plugin-gfm';
import TurndownService from 'turndown';

import { pageOf } from './settle.mjs';

/** What has text in the source that is not the page's. */
const WITHOUT_TEXT = ['noscript', 'script', 'style', 'template', 'title'];

/**
 * Return what a page, or the element of a locator, has as markdown (GitHub's: with tables).
 *
 * Links and images keep the addresses that are in the HTML. Frames within the page are left out.
 *
 * @param {{source: Page | Locator}} options
 * @returns {Promise<string>}
 */
export async function extractMarkdown({ source }) {
  const html = source === pageOf(source) ? await source.content() : await source.evaluate((root) => root.outerHTML);
  const service = new TurndownService({ headingStyle: 'atx', codeBlockStyle: 'fenced', bulletListMarker: '-' });
  return service.use(gfm.gfm).remove(WITHOUT_TEXT).turndown(html);
}
