// Renders posted Markdown as HTML. No packages: blocks line by line, then spans by one regular expression.
'use strict';

const escapes = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
const escapeHTML = (text) => text.replace(/[&<>"]/g, (character) => escapes[character]);

/** Addresses that may stand in a link: everything relative, and these schemes. */
function safeAddress(address) {
  const scheme = /^\s*([a-z][a-z0-9+.-]*):/i.exec(address.replace(/[\u0000-\u0020]/g, ''));
  return !scheme || /^(https?|mailto|ftp)$/i.test(scheme[1]) ? escapeHTML(address) : '#';
}

// Each part has a bound: without one, a text of opened and never closed marks would cost the square of its length.
const SPANS = new RegExp(
  [
    /\\([\\`*_{}[\]()#+\-.!|>~])/, // 1 an escaped character
    /(?<!`)(`+)(?!`)(.{1,500}?)(?<!`)\2(?!`)/, // 2, 3 code
    /!\[([^\]]{0,500})\]\(([^)\s]{1,2000})(?:\s{1,9}"([^"]{0,500})")?\)/, // 4, 5, 6 an image
    /\[((?:[^\][]|\[[^\]]{0,99}\]){0,500})\]\(([^)\s]{1,2000})(?:\s{1,9}"([^"]{0,500})")?\)/, // 7, 8, 9 a link
    /<(https?:\/\/[^>\s]{1,2000})>/, // 10 an address in angle brackets
    /\*\*(?=\S)(.{1,500}?\S|\S)\*\*/, // 11 strong
    /__(?=\S)(.{1,500}?\S|\S)__(?!\w)/, // 12 strong
    /\*(?=[^\s*])(.{1,500}?[^\s*]|[^\s*])\*(?!\*)/, // 13 emphasis
    /(?<!\w)_(?=[^\s_])(.{1,500}?[^\s_]|[^\s_])_(?!\w)/, // 14 emphasis
    /~~(?=\S)(.{1,500}?)~~/, // 15 struck out
    / {2,}\n/, // a line break
  ].map((part) => part.source).join('|'),
  'gs',
);

function spans(text) {
  let html = '';
  let at = 0;
  for (const match of text.matchAll(SPANS)) {
    html += escapeHTML(text.slice(at, match.index));
    at = match.index + match[0].length;
    html += span(match);
  }
  return html + escapeHTML(text.slice(at));
}

function span(m) {
  const title = (text) => (text ? ` title="${escapeHTML(text)}"` : '');
  if (m[1] !== undefined) return escapeHTML(m[1]);
  if (m[3] !== undefined) return `<code>${escapeHTML(m[3].trim())}</code>`;
  if (m[5] !== undefined) return `<img src="${safeAddress(m[5])}" alt="${escapeHTML(m[4])}"${title(m[6])}>`;
  if (m[8] !== undefined) return `<a href="${safeAddress(m[8])}"${title(m[9])}>${spans(m[7])}</a>`;
  if (m[10] !== undefined) return `<a href="${escapeHTML(m[10])}">${escapeHTML(m[10])}</a>`;
  const strong = m[11] ?? m[12];
  if (strong !== undefined) return `<strong>${spans(strong)}</strong>`;
  const emphasis = m[13] ?? m[14];
  if (emphasis !== undefined) return `<em>${spans(emphasis)}</em>`;
  if (m[15] !== undefined) return `<del>${spans(m[15])}</del>`;
  return '<br>\n';
}

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([\w+#-]*)\s*$/;
const HEADING = /^ {0,3}(#{1,6})(?:\s+(.*?))?\s*#*\s*$/;
const RULE = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/;
const ITEM = /^( {0,3})([-*+]|\d{1,9}[.)])(\s+)(.*)$/;
const QUOTE = /^ {0,3}> ?(.*)$/;
const TABLE_LINE = /^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/;
const NEST_MAX = 32;

/** Turns lines into HTML blocks. `isTight`: paragraphs of a list item without blank lines have no tags. */
function blocks(lines, depth = 0, isTight = false) {
  if (depth > NEST_MAX) return `<p>${escapeHTML(lines.join('\n'))}</p>\n`;
  let html = '';
  let at = 0;
  while (at < lines.length) {
    const line = lines[at];
    let match;
    if (!line.trim()) {
      at += 1;
    } else if ((match = FENCE.exec(line))) {
      const code = [];
      const end = new RegExp(`^ {0,3}${match[1][0]}{${match[1].length},}\\s*$`);
      for (at += 1; at < lines.length && !end.test(lines[at]); at += 1) code.push(lines[at]);
      at += 1;
      const language = match[2] ? ` class="language-${escapeHTML(match[2])}"` : '';
      html += `<pre><code${language}>${escapeHTML(code.map((text) => text + '\n').join(''))}</code></pre>\n`;
    } else if ((match = HEADING.exec(line))) {
      html += `<h${match[1].length}>${spans(match[2] || '')}</h${match[1].length}>\n`;
      at += 1;
    } else if (RULE.test(line)) {
      html += '<hr>\n';
      at += 1;
    } else if (QUOTE.test(line)) {
      const quoted = [];
      for (; at < lines.length && lines[at].trim(); at += 1) quoted.push((QUOTE.exec(lines[at]) || [, lines[at]])[1]);
      html += `<blockquote>\n${blocks(quoted, depth + 1)}</blockquote>\n`;
    } else if (ITEM.test(line)) {
      const [list, next] = listFrom(lines, at, depth);
      html += list;
      at = next;
    } else if (line.includes('|') && at + 1 < lines.length && TABLE_LINE.test(lines[at + 1])) {
      const [table, next] = tableFrom(lines, at);
      html += table;
      at = next;
    } else {
      const text = [];
      for (; at < lines.length && lines[at].trim() && (!text.length || !startsBlock(lines[at])); at += 1) {
        text.push(lines[at].replace(/^\s+/, ''));
      }
      const paragraph = spans(text.join('\n').trimEnd());
      html += isTight ? `${paragraph}\n` : `<p>${paragraph}</p>\n`;
    }
  }
  return html;
}

const startsBlock = (line) =>
  FENCE.test(line) || HEADING.test(line) || RULE.test(line) || QUOTE.test(line) || ITEM.test(line);

function listFrom(lines, start, depth) {
  const first = ITEM.exec(lines[start]);
  const isOrdered = /\d/.test(first[2]);
  const isItem = (line) => ITEM.test(line) && /\d/.test(ITEM.exec(line)[2]) === isOrdered && !RULE.test(line);
  const items = [];
  let isLoose = false;
  let at = start;
  while (at < lines.length) {
    if (!isItem(lines[at])) break;
    const match = ITEM.exec(lines[at]);
    const indent = match[1].length + match[2].length + 1;
    const item = [match[4]];
    at += 1;
    while (at < lines.length) {
      const line = lines[at];
      if (!line.trim()) {
        const next = lines[at + 1] || '';
        const isInside = next.startsWith(' '.repeat(indent));
        if (isInside || isItem(next)) isLoose = true;
        if (!isInside) break;
        item.push('');
      } else if (line.startsWith(' '.repeat(Math.min(indent, 2))) && line.length > line.trimStart().length) {
        item.push(line.slice(Math.min(indent, line.length - line.trimStart().length)));
      } else if (startsBlock(line)) {
        break;
      } else {
        item.push(line);
      }
      at += 1;
    }
    items.push(item);
    while (at < lines.length && !lines[at].trim() && isItem(lines[at + 1] || '')) at += 1;
  }
  const tag = isOrdered ? 'ol' : 'ul';
  const from = isOrdered && parseInt(first[2], 10) !== 1 ? ` start="${parseInt(first[2], 10)}"` : '';
  const body = items.map((item) => `<li>${blocks(item, depth + 1, !isLoose).trimEnd()}</li>\n`).join('');
  return [`<${tag}${from}>\n${body}</${tag}>\n`, at];
}

function cells(line) {
  return line.trim().replace(/^\|/, '').replace(/(?<!\\)\|$/, '').split(/(?<!\\)\|/).map((cell) => cell.trim());
}

function tableFrom(lines, start) {
  const sides = cells(lines[start + 1]).map((cell) => {
    if (/^:-+:$/.test(cell)) return ' style="text-align:center"';
    return /-:$/.test(cell) ? ' style="text-align:right"' : '';
  });
  const row = (line, tag) =>
    `<tr>${cells(line).slice(0, sides.length).map((cell, i) => `<${tag}${sides[i]}>${spans(cell)}</${tag}>`).join('')}</tr>\n`;
  let body = '';
  let at = start + 2;
  for (; at < lines.length && lines[at].includes('|'); at += 1) body += row(lines[at], 'td');
  return [`<table>\n<thead>\n${row(lines[start], 'th')}</thead>\n<tbody>\n${body}</tbody>\n</table>\n`, at];
}

function render(markdown) {
  return blocks(markdown.replace(/\r\n?/g, '\n').replace(/\t/g, '    ').split('\n'));
}

const BYTES_MAX = 256 * 1024;

const refuse = (statusCode, body) => ({ statusCode, headers: { 'content-type': 'text/plain; charset=utf-8' }, body: `${body}\n` });

exports.handler = async (event) => {
  if (!event?.requestContext) {
    // Called directly: {"markdown": "..."} or the text itself.
    const text = typeof event === 'string' ? event : event?.markdown;
    if (typeof text !== 'string') throw new TypeError('there is no Markdown: give {"markdown": "..."}');
    return { html: render(text) };
  }
  const body = event.isBase64Encoded ? Buffer.from(event.body, 'base64').toString('utf8') : event.body || '';
  if (!body) return refuse(400, 'POST some Markdown here.');
  if (Buffer.byteLength(body) > BYTES_MAX) return refuse(413, `A text may have ${BYTES_MAX} bytes at the most.`);
  return { statusCode: 200, headers: { 'content-type': 'text/html; charset=utf-8' }, body: render(body) };
};
