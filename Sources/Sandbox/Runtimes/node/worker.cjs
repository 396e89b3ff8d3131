// Hearth's client for Node functions: reads invocations from descriptor 3, writes answers to descriptor 4.
//
// The frames are described in Sources/Sandbox/InvocationMessage.swift. One invocation at a time; the end of descriptor 3
// is the end. Works with Node 18 and later.
'use strict';

const started = process.hrtime.bigint();
const fs = require('node:fs');
const path = require('node:path');
const { pathToFileURL } = require('node:url');

const IN = 3;
const OUT = 4;
const READY = 1;
const INIT_FAILED = 2;
const ANSWER = 3;
const FAILURE = 4;
const LAST_FAILURE = 5;
const STREAM_BEGIN = 8;
const STREAM_PIECE = 9;
/** Bytes of one piece; the pipe holds as much. */
const PIECE = 1 << 16;

let currentId = '';
/** Does an invocation wait for its answer? */
let isRunning = false;
/** What is done when the event loop has nothing left to do. */
let whenLoopIsEmpty = null;
let isServing = false;

// Frames out ---------------------------------------------------------------------------------------------------------

function writeAll(buffer) {
  let at = 0;
  while (at < buffer.length) {
    try {
      at += fs.writeSync(OUT, buffer, at);
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
    }
  }
}

function sendReady(importBegan, importEnded) {
  const frame = Buffer.alloc(4 + 1 + 30);
  frame.writeUInt32LE(31, 0);
  frame[4] = READY;
  frame.writeBigUInt64LE(started, 5);
  frame.writeBigUInt64LE(importBegan, 13);
  frame.writeBigUInt64LE(importEnded, 21);
  frame.writeUInt32LE(peakKiB(), 29);
  frame.writeUInt16LE(fs.readdirSync('/proc/self/task').length, 33);
  writeAll(frame);
}

function sendInitFailed(description) {
  const body = Buffer.from(JSON.stringify({ ...description, requestId: '' }));
  const frame = Buffer.alloc(5 + body.length);
  frame.writeUInt32LE(1 + body.length, 0);
  frame[4] = INIT_FAILED;
  body.copy(frame, 5);
  writeAll(frame);
}

function sendAnswer(kind, json) {
  const length = Buffer.byteLength(json);
  const frame = Buffer.allocUnsafe(9 + length);
  frame.writeUInt32LE(5 + length, 0);
  frame[4] = kind;
  frame.writeUInt32LE(peakKiB(), 5);
  frame.write(json, 9, length, 'utf8');
  writeAll(frame);
}

/** A frame of an answer in pieces: it carries the end of the id of its invocation. */
function sendPiece(kind, bytes) {
  const frame = Buffer.allocUnsafe(13 + bytes.length);
  frame.writeUInt32LE(9 + bytes.length, 0);
  frame[4] = kind;
  frame.write(currentId.slice(28), 5, 8, 'latin1');
  bytes.copy(frame, 13);
  writeAll(frame);
}

// The kernel's own peak. (ru_maxrss may be the server's: it survives exec.) It is read again only after page faults:
// without one it cannot have moved.
const status = fs.openSync('/proc/self/status', 'r');
const statusText = Buffer.alloc(4096);
let faultsSeen = -1;
let peak = 0;
function peakKiB() {
  const usage = process.resourceUsage();
  const faults = usage.minorPageFault + usage.majorPageFault;
  if (faults !== faultsSeen) {
    faultsSeen = faults;
    const count = fs.readSync(status, statusText, 0, statusText.length, 0);
    const match = /VmHWM:\s+(\d+)/.exec(statusText.latin1Slice(0, count));
    if (match) peak = Number(match[1]);
  }
  return peak;
}

// The log ------------------------------------------------------------------------------------------------------------

const util = require('node:util');
for (const [name, level] of [
  ['log', 'INFO'], ['info', 'INFO'], ['debug', 'DEBUG'], ['trace', 'TRACE'], ['warn', 'WARN'], ['error', 'ERROR'], ['fatal', 'FATAL'],
]) {
  console[name] = (...values) => {
    process.stdout.write(`${new Date().toISOString()}\t${currentId || 'undefined'}\t${level}\t${util.format(...values)}\n`);
  };
}

/** Lambda's error object for whatever was thrown. */
function describe(error) {
  try {
    if (error instanceof Error || (error && error.name && error.message !== undefined)) {
      return {
        errorType: String(error.name || 'Error'),
        errorMessage: String(error.message),
        trace: String(error.stack || '').split('\n'),
      };
    }
    return { errorType: typeof error, errorMessage: error.toString(), trace: [] };
  } catch {
    return {
      errorType: 'handled',
      errorMessage: 'callback called with Error argument, but there was a problem while retrieving one or more of its message, name, and stack',
      trace: [],
    };
  }
}

function logError(title, { errorType, errorMessage, trace }) {
  console.error(title, `\t${JSON.stringify({ errorType, errorMessage, stack: trace })}`);
}

// Init ---------------------------------------------------------------------------------------------------------------

class HandlerError extends Error {
  constructor(name, message) {
    super(message);
    this.name = name;
  }
}

async function loadModule(root, file) {
  const base = path.resolve(root, file);
  const isModule = (() => {
    for (let at = path.dirname(base); ; at = path.dirname(at)) {
      const manifest = path.join(at, 'package.json');
      if (fs.existsSync(manifest)) return JSON.parse(fs.readFileSync(manifest, 'utf8')).type === 'module';
      if (at === root || at === path.dirname(at)) return false;
    }
  })();
  for (const [ending, imported] of [['.js', isModule], ['.mjs', true], ['.cjs', false]]) {
    if (!fs.existsSync(base + ending)) continue;
    return imported ? import(pathToFileURL(base + ending).href) : require(base + ending);
  }
  throw new HandlerError('Runtime.ImportModuleError', `Error: Cannot find module '${file}'`);
}

async function loadHandler(root, name) {
  const match = /^(.*\/)?([^/]*?)\.(.+)$/.exec(name);
  if (!match) throw new HandlerError('Runtime.MalformedHandlerName', `Bad handler: ${name}`);
  let module;
  try {
    module = await loadModule(root, (match[1] || '') + match[2]);
  } catch (error) {
    if (error instanceof HandlerError) throw error;
    if (error instanceof SyntaxError) error.name = 'Runtime.UserCodeSyntaxError';
    else if (error && error.code === 'MODULE_NOT_FOUND') error.name = 'Runtime.ImportModuleError';
    throw error;
  }
  let handler = module;
  for (const part of match[3].split('.')) {
    handler = handler === undefined || handler === null ? undefined : handler[part] ?? handler.default?.[part];
  }
  if (handler === undefined) throw new HandlerError('Runtime.HandlerNotFound', `${name} is undefined or not exported`);
  if (typeof handler !== 'function') throw new HandlerError('Runtime.HandlerNotFound', `${name} is not a function`);
  return handler;
}

// Invocations --------------------------------------------------------------------------------------------------------

function makeContext(message) {
  return {
    callbackWaitsForEmptyEventLoop: true,
    functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
    functionVersion: message.version,
    invokedFunctionArn: message.arn,
    memoryLimitInMB: process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    awsRequestId: message.id,
    logGroupName: process.env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: process.env.AWS_LAMBDA_LOG_STREAM_NAME,
    identity: undefined,
    clientContext: message.clientContext ? JSON.parse(message.clientContext) : undefined,
    getRemainingTimeInMillis: () => Math.max(0, message.deadline - Date.now()),
  };
}

function sendError(error) {
  const description = describe(error);
  logError('Invoke Error', description);
  sendAnswer(FAILURE, JSON.stringify(description));
}

/** What a streaming handler has written is out already. */
const STREAMED = Symbol('streamed');

function sendResult(result) {
  if (result === STREAMED) return sendAnswer(ANSWER, '');
  let json;
  try {
    json = JSON.stringify(result);
  } catch (error) {
    return sendError(new HandlerError('Runtime.MarshalError', `Unable to stringify response body: ${error.message}`));
  }
  sendAnswer(ANSWER, json === undefined ? 'null' : json);
}

/** Runs the handler for one message and resolves when its answer has been sent. */
function invoke(handler, message) {
  return new Promise((resolve) => {
    let isSettled = false;
    const settle = (send, value) => {
      if (isSettled) return;
      isSettled = true;
      whenLoopIsEmpty = null;
      // A rejection that nobody handles comes up once the handler has returned: it must fall on this invocation.
      setImmediate(() => {
        isRunning = false;
        send(value);
        resolve();
      });
    };
    isRunning = true;
    const succeed = (result) => settle(sendResult, result);
    const fail = (error) => settle(sendError, error);
    const done = (error, result) => (error === undefined || error === null ? succeed(result) : fail(error));
    // Nothing is left that could still bring the answer: Lambda answers null.
    whenLoopIsEmpty = () => succeed(null);

    let hasCalledBack = false;
    const context = makeContext(message);
    const callback = (error, result) => {
      if (hasCalledBack || isSettled) return;
      hasCalledBack = true;
      // The answer of a callback waits until the event loop is empty, unless the handler says otherwise.
      if (!context.callbackWaitsForEmptyEventLoop) return done(error, result);
      whenLoopIsEmpty = () => done(error, result);
    };
    Object.assign(context, { done, succeed, fail: (error) => fail(error ?? 'handled') });
    let returned;
    try {
      returned = handler(message.event(), context, callback);
    } catch (error) {
      return fail(error);
    }
    if (returned && typeof returned.then === 'function') returned.then(succeed, fail);
    // (Lambda drops what a plain function returns; here it is the answer, unless the function takes a callback.)
    else if (returned !== undefined && handler.length < 3) succeed(returned);
  });
}

function parseMessage(frame) {
  let at = 5 + 36 + 8;
  const take = (length) => frame.toString('utf8', at, (at += length));
  const [version, arn, trace, context] = [
    frame[at], frame.readUInt16LE(at + 1), frame.readUInt16LE(at + 3), frame.readUInt32LE(at + 5),
  ];
  at += 9;
  const message = {
    id: frame.latin1Slice(5, 41),
    deadline: Number(frame.readBigUInt64LE(41)),
    version: take(version),
    arn: take(arn),
    traceId: take(trace),
    clientContext: take(context),
  };
  const start = at;
  message.event = () => JSON.parse(frame.toString('utf8', start));
  return message;
}

// Reading blocks between invocations: Lambda freezes a function then too, and it is half as dear as a socket.
let input = Buffer.allocUnsafe(1 << 16);
let filled = 0;
function readFrame() {
  for (;;) {
    if (filled >= 4) {
      const length = 4 + input.readUInt32LE(0);
      if (filled >= length) {
        const frame = Buffer.from(input.subarray(0, length));
        input.copy(input, 0, length, filled);
        filled -= length;
        return frame;
      }
      if (length > input.length) input = Buffer.concat([input.subarray(0, filled)], length);
    }
    const count = fs.readSync(IN, input, filled, input.length - filled, null);
    if (count === 0) return null;
    filled += count;
  }
}

async function serve(handler) {
  let traced = false;
  for (;;) {
    const frame = readFrame();
    if (frame === null) process.exit(0);
    const message = parseMessage(frame);
    currentId = message.id;
    if (message.traceId) process.env._X_AMZN_TRACE_ID = message.traceId;
    else if (traced) delete process.env._X_AMZN_TRACE_ID; // That of the invocation before is not this one's.
    traced = Boolean(message.traceId);
    await invoke(handler, message);
    if (input.length > 1 << 20 && filled === 0) input = Buffer.allocUnsafe(1 << 16);
  }
}

/** What nobody caught ends the init or the running invocation, and then the process. */
function uncaught(description) {
  logError('Uncaught Exception', description);
  if (!isServing) sendInitFailed(description);
  else if (isRunning) sendAnswer(LAST_FAILURE, JSON.stringify(description));
  process.exit(129);
}
process.on('uncaughtException', (error) => uncaught(describe(error)));
process.on('unhandledRejection', (reason) => {
  const { errorMessage, errorType, trace } = describe(reason);
  const text = reason instanceof Error ? `${errorType}: ${errorMessage}` : errorMessage;
  uncaught({ errorType: 'Runtime.UnhandledPromiseRejection', errorMessage: text, trace });
});

process.on('beforeExit', () => {
  // setImmediate keeps the process alive until the answer is out and the next invocation read.
  if (whenLoopIsEmpty) setImmediate(whenLoopIsEmpty);
});

// Answers in pieces --------------------------------------------------------------------------------------------------

const HTTP_TYPE = 'application/vnd.awslambda.http-integration-response';

/** The stream that a streaming handler writes to: each write leaves at once. */
function makeResponseStream() {
  const { Writable } = require('node:stream');
  const id = currentId;
  let type = 'application/octet-stream';
  let prelude = null;
  let hasBegun = false;
  const begin = () => {
    if (hasBegun) return;
    hasBegun = true;
    sendPiece(STREAM_BEGIN, Buffer.from(type));
    if (prelude) sendPiece(STREAM_PIECE, Buffer.concat([Buffer.from(prelude), Buffer.alloc(8)]));
  };
  const stream = new Writable({
    write(chunk, encoding, done) {
      // What a handler that was answered already still writes is nobody's.
      if (id === currentId && isRunning) {
        begin();
        const bytes = Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk, encoding);
        for (let at = 0; at < bytes.length; at += PIECE) sendPiece(STREAM_PIECE, bytes.subarray(at, at + PIECE));
      }
      done();
    },
    final(done) {
      if (id === currentId && isRunning) begin();
      done();
    },
  });
  stream.setContentType = (name) => {
    if (hasBegun) throw new HandlerError('Runtime.InvalidStreamingOperation', 'The content type is sent already');
    type = String(name);
  };
  stream._onHTTP = (metadata) => {
    stream.setContentType(HTTP_TYPE);
    prelude = JSON.stringify(metadata ?? {});
  };
  return stream;
}

globalThis.awslambda = {
  streamifyResponse: (handler) => async (event, context) => {
    const stream = makeResponseStream();
    const ended = new Promise((resolve, reject) => stream.on('finish', resolve).on('error', reject));
    await handler(event, stream, context);
    // The answer ends when its stream does, as with Lambda; a stream that nobody ends is ended when nothing is left to do.
    whenLoopIsEmpty = () => stream.end();
    await ended;
    return STREAMED;
  },
  HttpResponseStream: {
    from: (stream, metadata) => {
      stream._onHTTP(metadata);
      return stream;
    },
  },
};

(async () => {
  const root = process.env.LAMBDA_TASK_ROOT || process.cwd();
  const importBegan = process.hrtime.bigint();
  let handler;
  try {
    handler = await loadHandler(root, process.env._HANDLER);
  } catch (error) {
    return uncaught(describe(error));
  }
  const importEnded = process.hrtime.bigint();
  // What init left to happen at once still belongs to it.
  await new Promise((resolve) => setImmediate(resolve));
  sendReady(importBegan, importEnded);
  isServing = true;
  await serve(handler);
})();
