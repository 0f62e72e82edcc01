/** Makes HTML shorter. */

import { DomUtils, parseDocument } from 'htmlparser2';

/**
 * Return HTML without elements and attributes that say nothing about its content.
 *
 * @param {object} options
 * @param {string} options.html
 * @param {boolean} [options.removeScripts]
 * @param {boolean} [options.removeStyles] removes `style` elements
 * @param {boolean} [options.removeSvgs]
 * @param {boolean} [options.removeComments]
 * @param {boolean} [options.removeLongAttributes] removes attributes whose values have more than `maxAttributeLength`
 *   characters, except `preserveAttributes`
 * @param {number} [options.maxAttributeLength]
 * @param {string[]} [options.preserveAttributes]
 * @param {boolean} [options.removeEmptyTags] removes elements that have no text and no elements, or lose all of them
 *   here, except `preserveEmptyTags`
 * @param {string[]} [options.preserveEmptyTags]
 * @param {boolean} [options.minifyWhitespace] makes one space of white space that is longer
 * @returns {string}
 */
export function sanitizeHtml({
  html,
  removeScripts = true,
  removeStyles = true,
  removeSvgs = true,
  removeComments = true,
  removeLongAttributes = true,
  maxAttributeLength = 500,
  preserveAttributes = ['class', 'src'],
  removeEmptyTags = true,
  preserveEmptyTags = ['img'],
  minifyWhitespace = true,
}) {
  const unwanted = new Set([removeScripts && 'script', removeStyles && 'style', removeSvgs && 'svg']);
  const isEmpty = (node) => node.children.every((child) => child.type === 'text' && !child.data.trim());

  const clean = (parent) => {
    for (const node of [...parent.children]) {
      if (node.type === 'comment' && removeComments) DomUtils.removeElement(node);
      if (node.type === 'text' && minifyWhitespace) node.data = node.data.replace(/\s+/g, ' ');
      if (!('attribs' in node)) continue;
      if (unwanted.has(node.name)) {
        DomUtils.removeElement(node);
        continue;
      }
      for (const [name, value] of Object.entries(node.attribs)) {
        const isLong = removeLongAttributes && value.length > maxAttributeLength;
        if (isLong && !preserveAttributes.includes(name)) delete node.attribs[name];
      }
      clean(node);
      if (removeEmptyTags && isEmpty(node) && !preserveEmptyTags.includes(node.name)) DomUtils.removeElement(node);
    }
  };

  const document = parseDocument(html);
  clean(document);
  const cleaned = DomUtils.getOuterHTML(document.children, { encodeEntities: 'utf8' });
  return minifyWhitespace ? cleaned.trim() : cleaned;
}
