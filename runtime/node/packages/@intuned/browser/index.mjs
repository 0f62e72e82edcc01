export { Attachment, saveFileToS3, uploadFileToS3 } from './attachments.mjs';
export { downloadFile } from './downloads.mjs';
export { extractMarkdown, sanitizeHtml } from './html.mjs';
export { goToUrl, resolveUrl } from './navigation.mjs';
export { clickUntilExhausted, scrollToLoadContent } from './pagination.mjs';
export { waitForDomSettled, waitForNetworkSettled, withNetworkSettledWait } from './settle.mjs';
export { filterEmptyValues, processDate, validateDataUsingSchema, ValidationError } from './values.mjs';
