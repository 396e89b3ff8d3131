@testable import HTTP

/// Requests that are read, with what is read: the last number counts the bytes of the head.
let goodRequests: [(String, String)] = [
    ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", #"get(GET) /@a 1.1 none keep 27 ["Host=a"]"#),
    ("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", #"get(GET) /@a 1.1 none keep 29 ["Host=a"]"#),
    (
        "GET /a/b?x=1&y=?2 HTTP/1.1\r\nhost:a:80\r\n\r\nrest",
        #"get(GET) /a/b?x=1&y=?2@a:80 1.1 none keep 41 ["host=a:80"]"#
    ),
    ("GET /? HTTP/1.1\r\nHost:\r\n\r\n", #"get(GET) /?@ 1.1 none keep 26 ["Host="]"#),
    ("HEAD / HTTP/1.0\r\n\r\n", "head(HEAD) / 1.0 none close 19 []"),
    (
        "PUT / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
        #"put(PUT) / 1.0 none keep 42 ["Connection=Keep-Alive"]"#
    ),
    (
        "GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n",
        #"get(GET) / 1.0 none close 49 ["Connection=keep-alive, close"]"#
    ),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: x ,\tCLOSE\r\n\r\n",
        #"get(GET) /@a 1.1 none close 50 ["Host=a", "Connection=x ,\tCLOSE"]"#
    ),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: x\r\nConnection: close\r\n\r\n",
        #"get(GET) /@a 1.1 none close 61 ["Host=a", "Connection=x", "Connection=close"]"#
    ),
    (
        "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0012\r\n\r\n",
        #"post(POST) /x@a 1.1 length(12) keep 51 ["Host=a", "Content-Length=0012"]"#
    ),
    (
        "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775807\r\nExpect: 100-Continue\r\n\r\n",
        #"post(POST) /x@a 1.1 length(9223372036854775807) keep expect 88 ["Host=a", "Content-Length=92233"#
            + #"72036854775807", "Expect=100-Continue"]"#
    ),
    (
        "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n",
        #"post(POST) /x@a 1.1 length(0) keep expect 70 ["Host=a", "Content-Length=0", "Expect=100-continue"]"#
    ),
    (
        "POST /x HTTP/1.0\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
        #"post(POST) /x 1.0 length(5) close 61 ["Content-Length=5", "Expect=100-continue"]"#
    ),
    (
        "DELETE / HTTP/1.1\r\nHost: a\r\nTRANSFER-ENCODING: \t Chunked \t\r\n\r\n",
        #"delete(DELETE) /@a 1.1 chunked keep 62 ["Host=a", "TRANSFER-ENCODING=Chunked"]"#
    ),
    ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", #"options(OPTIONS) *@a 1.1 none keep 31 ["Host=a"]"#),
    (
        "GET http://h:1/p?q HTTP/1.1\r\nHost: other\r\n\r\n",
        #"get(GET) /p?q@h:1 1.1 none keep 44 ["Host=other"]"#
    ),
    ("GET HTTPS://h?q HTTP/1.1\r\nHost: h\r\n\r\n", #"get(GET) /?q@h 1.1 none keep 37 ["Host=h"]"#),
    ("TRACE http://[::1]:80 HTTP/1.0\r\n\r\n", "trace(TRACE) /@[::1]:80 1.0 none close 34 []"),
    (
        "PATCH /%7B|{}^`\"<> HTTP/1.7\r\nHost: [2001:db8::1]\r\n\r\n",
        "patch(PATCH) /%7B|{}^`\"<>@[2001:db8::1] 1.1 none keep 52 [\"Host=[2001:db8::1]\"]"
    ),
    (
        "M-SEARCH!#$%&'*+.^_`|~ /x HTTP/1.1\r\nHost: a\r\nx_y.z|: \u{E9}\t\"; ,\r\n\r\n",
        "other(M-SEARCH!#$%&'*+.^_`|~) /x@a 1.1 none keep 64 [\"Host=a\", \"x_y.z|=\u{E9}\\t\\\"; ,\"]"
    ),
    ("get / HTTP/1.1\r\nHost: a\r\n\r\n", #"other(get) /@a 1.1 none keep 27 ["Host=a"]"#),
    ("GETTING / HTTP/1.1\r\nHost: a\r\n\r\n", #"other(GETTING) /@a 1.1 none keep 31 ["Host=a"]"#),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nA:\r\nB: \r\nC: \t \r\nLonger-Than-Eight:  \t\r\n\r\n",
        #"get(GET) /@a 1.1 none keep 66 ["Host=a", "A=", "B=", "C=", "Longer-Than-Eight="]"#
    ),
]

/// The start of a request, its fields to come.
private let get = "GET / HTTP/1.1\r\nHost: a\r\n"
private let post = "POST / HTTP/1.1\r\nHost: a\r\n"

/// Requests that are refused, and as what: RFC 9112's rules and the tricks that smuggle requests past
/// intermediaries.
let badRequests: [(String, HTTPError)] = [
    // not HTTP, or not this HTTP
    ("\u{16}\u{3}\u{1}", .notHTTP),
    (" GET / HTTP/1.1\r\n\r\n", .notHTTP),
    ("\0", .notHTTP),
    ("(GET / HTTP/1.1\r\n", .notHTTP),
    ("\r\n\r\nGET / HTTP/1.1\r\n\r\n", .notHTTP),
    ("\nGET / HTTP/1.1\r\n\r\n", .lineEnd),
    ("\rGET / HTTP/1.1\r\n\r\n", .lineEnd),
    ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", .version),
    ("GET / HTTP/0.9\r\n\r\n", .version),
    ("GET / HTTP/3.0\r\n\r\n", .version),
    ("GET /\r\n\r\n", .requestLine),
    ("GET\r\n\r\n", .requestLine),
    ("GET / \r\n\r\n", .requestLine),
    ("GET  / HTTP/1.1\r\n\r\n", .requestLine),
    ("GET /  HTTP/1.1\r\n\r\n", .requestLine),
    ("GET / HTTP/1.1 \r\n\r\n", .requestLine),
    ("GET / HTTP/1.10\r\n\r\n", .requestLine),
    ("GET / HTTP/11\r\n\r\n", .requestLine),
    ("GET / http/1.1\r\n\r\n", .requestLine),
    ("GET / HTTP/1.x\r\n\r\n", .requestLine),
    ("GET / HTTP/1,1\r\n\r\n", .requestLine),
    ("GET / HTTP/+.1\r\n\r\n", .requestLine),
    ("GET\t/ HTTP/1.1\r\n\r\n", .requestLine),
    ("G(T / HTTP/1.1\r\n\r\n", .requestLine),
    ("GET /a b HTTP/1.1\r\n\r\n", .requestLine),
    ("GET / XTTP/1.1\r\n\r\n", .requestLine),
    ("GET / HTTP/1.1\nHost: a\r\n\r\n", .lineEnd),
    ("GET / HTTP/1.1\r\r\n\r\n", .requestLine),
    ("GET /\rX HTTP/1.1\r\n\r\n", .requestLine),
    // targets
    ("GET /a#b HTTP/1.1\r\n\r\n", .target),
    ("GET /\0 HTTP/1.1\r\n\r\n", .target),
    ("GET /\u{E9} HTTP/1.1\r\n\r\n", .target),
    ("GET /\u{7F} HTTP/1.1\r\n\r\n", .target),
    ("GET /\tx HTTP/1.1\r\n\r\n", .target),
    ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", .target),
    ("OPTIONS *a HTTP/1.1\r\nHost: a\r\n\r\n", .target),
    ("OPTIONS *?a HTTP/1.1\r\nHost: a\r\n\r\n", .target),
    ("GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n", .target),
    ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", .target),
    ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", .target),
    ("GET http:// HTTP/1.1\r\nHost: a\r\n\r\n", .target),
    ("GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", .target),
    ("GET http://?x HTTP/1.1\r\nHost: a\r\n\r\n", .target),
    ("GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", .target),
    ("GET http://:80/ HTTP/1.1\r\nHost: a\r\n\r\n", .target),
    ("GET http://a:x/ HTTP/1.1\r\nHost: a\r\n\r\n", .target),
    ("GET http://[::1/ HTTP/1.1\r\nHost: a\r\n\r\n", .target),
    ("GET ?a HTTP/1.1\r\nHost: a\r\n\r\n", .target),
    ("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", .methodNotSupported),
    // host
    ("GET / HTTP/1.1\r\n\r\n", .hostMissing),
    ("GET http://a/ HTTP/1.1\r\n\r\n", .hostMissing),
    (get + "Host: a\r\n\r\n", .hostRepeated),
    (get + "hOST: b\r\n\r\n", .hostRepeated),
    ("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", .hostRepeated),
    ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", .hostInvalid),
    ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", .hostInvalid),
    ("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", .hostInvalid),
    ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", .hostInvalid),
    ("GET / HTTP/1.1\r\nHost: a:8x\r\n\r\n", .hostInvalid),
    ("GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n", .hostInvalid),
    ("GET / HTTP/1.1\r\nHost: []\r\n\r\n", .hostInvalid),
    ("GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n", .hostInvalid),
    ("GET / HTTP/1.1\r\nHost: \u{E9}\r\n\r\n", .hostInvalid),
    // lines and names
    (get + "A: b\n\r\n", .lineEnd),
    (get + "A: b\r\n\n", .lineEnd),
    (get + "\n", .lineEnd),
    (get + "\r\r\n", .fieldName),
    (get + "A: b\rC: d\r\n\r\n", .fieldValue),
    (get + "A: b\r\r\n\r\n", .fieldValue),
    (get + " A: b\r\n\r\n", .folded),
    (get + "A: b\r\n c\r\n\r\n", .folded),
    (get + "A: b\r\n\tc\r\n\r\n", .folded),
    (get + "A: b\r\n \r\n\r\n", .folded),
    ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", .folded),
    (get + "A : b\r\n\r\n", .spaceBeforeColon),
    (get + "A\t: b\r\n\r\n", .spaceBeforeColon),
    (get + "Content-Length : 5\r\n\r\n", .spaceBeforeColon),
    (get + ": b\r\n\r\n", .fieldName),
    (get + "A\r\n\r\n", .fieldName),
    (get + "A b: c\r\n\r\n", .fieldName),
    (get + "A(b): c\r\n\r\n", .fieldName),
    (get + "A\0: c\r\n\r\n", .fieldName),
    (get + "\u{E9}: c\r\n\r\n", .fieldName),
    (get + "A\u{7F}: c\r\n\r\n", .fieldName),
    (get + "\"A\": c\r\n\r\n", .fieldName),
    (get + "A;: c\r\n\r\n", .fieldName),
    (get + "\u{B}A: c\r\n\r\n", .fieldName),
    (get + "A: b\0c\r\n\r\n", .fieldValue),
    (get + "A: \u{1}\r\n\r\n", .fieldValue),
    (get + "A: \u{B}x\r\n\r\n", .fieldValue),
    (get + "A: \u{7F}\r\n\r\n", .fieldValue),
    (get + "Some-Long-Name: 0123456\u{1F}89012345678901234567890\r\n\r\n", .fieldValue),
    (get + "Some-Long-Name: 012345678901234567890\t23456789\u{7F}\r\n\r\n", .fieldValue),
    (get + "Name: \u{0}234567\r\n\r\n", .fieldValue),
    (get + "Name: 01234567\u{8}\r\n\r\n", .fieldValue),
    // body framing
    (post + "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", .contentLengthRepeated),
    (post + "Content-Length: 5\r\ncontent-length: 6\r\n\r\n", .contentLengthRepeated),
    (post + "Content-Length: 5, 5\r\n\r\n", .contentLength),
    (post + "Content-Length: +5\r\n\r\n", .contentLength),
    (post + "Content-Length: -1\r\n\r\n", .contentLength),
    (post + "Content-Length:\r\n\r\n", .contentLength),
    (post + "Content-Length: 0x5\r\n\r\n", .contentLength),
    (post + "Content-Length: 5 5\r\n\r\n", .contentLength),
    (post + "Content-Length: 5.0\r\n\r\n", .contentLength),
    (post + "Content-Length: 1e3\r\n\r\n", .contentLength),
    (post + "Content-Length: \u{664}\r\n\r\n", .contentLength),
    (post + "Content-Length: 9223372036854775808\r\n\r\n", .contentLength),
    (post + "Content-Length: 18446744073709551616\r\n\r\n", .contentLength),
    (post + "Content-Length: 99999999999999999999999\r\n\r\n", .contentLength),
    (post + "Content-Length: 18446744073709551621\r\n\r\n", .contentLength),
    (post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", .contentLengthWithTransferEncoding),
    (post + "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n", .contentLengthWithTransferEncoding),
    (post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", .transferEncodingRepeated),
    (post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n", .transferEncodingRepeated),
    (post + "Transfer-Encoding: identity\r\n\r\n", .transferEncoding),
    (post + "Transfer-Encoding: gzip\r\n\r\n", .transferEncoding),
    (post + "Transfer-Encoding: chunked, gzip\r\n\r\n", .transferEncoding),
    (post + "Transfer-Encoding: chunked, chunked\r\n\r\n", .transferEncoding),
    (post + "Transfer-Encoding: gzip, chunked\r\n\r\n", .transferCodingUnknown),
    (post + "Transfer-Encoding: xchunked\r\n\r\n", .transferEncoding),
    (post + "Transfer-Encoding:\r\n\r\n", .transferEncoding),
    (post + "Transfer-Encoding: ,chunked\r\n\r\n", .transferEncoding),
    (post + "Transfer-Encoding: chunked,\r\n\r\n", .transferEncoding),
    (post + "Transfer-Encoding: \"chunked\"\r\n\r\n", .transferEncoding),
    (post + "Transfer-Encoding: chunked;q=1\r\n\r\n", .transferEncoding),
    (post + "Transfer-Encoding: \u{B}chunked\r\n\r\n", .fieldValue),
    (post + "Transfer-Encoding: chunked\u{A0}\r\n\r\n", .transferEncoding),
    (post + "Transfer-Encoding\r\n : chunked\r\n\r\n", .fieldName),
    (post + "Transfer-Encoding:\r\n chunked\r\n\r\n", .transferEncoding),
    ("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", .transferEncodingInHTTP10),
]
