import Foundation
import Glibc

/// Another server that does the same job, where it is installed.
struct Peer: Sendable {
    let name: String
    let program: String
    let howToInstall: String
    /// What it answers to `/`.
    let body: String
    /// Its command line; the files that it reads are written to the directory first.
    let command: @Sendable (_ program: String, _ port: UInt16, _ directory: String) throws -> [String]

    /// `nginx`, one worker, answering from its configuration.
    static let nginx = Peer(
        name: "nginx", program: "nginx", howToInstall: "apt-get install nginx-light", body: "ok\n"
    ) { program, port, directory in
        let configuration = """
            daemon off; worker_processes 1; pid \(directory)/pid; error_log stderr error;
            events { worker_connections 1024; }
            http {
                access_log off; keepalive_requests 1000000000;
                server { listen 127.0.0.1:\(port); location / { default_type text/plain; return 200 "ok\\n"; } }
            }
            """
        try configuration.write(toFile: "\(directory)/nginx.conf", atomically: false, encoding: .utf8)
        return [program, "-e", "stderr", "-p", directory, "-c", "\(directory)/nginx.conf"]
    }

    /// `nginx`, one worker, serving the files of `root` as its documentation advises; `/` is answered from its configuration.
    static func nginxFiles(_ root: String) -> Peer {
        Peer(name: "nginx", program: "nginx", howToInstall: nginx.howToInstall, body: "ok\n") { program, port, directory in
            let configuration = """
                daemon off; worker_processes 1; pid \(directory)/pid; error_log stderr error; user root;
                events { worker_connections 1024; }
                http {
                    access_log off; keepalive_requests 1000000000; sendfile on; tcp_nopush on;
                    open_file_cache max=1000; default_type application/octet-stream;
                    server {
                        listen 127.0.0.1:\(port); root \(root);
                        location = / { default_type text/plain; return 200 "ok\\n"; }
                    }
                }
                """
            try configuration.write(toFile: "\(directory)/nginx.conf", atomically: false, encoding: .utf8)
            return [program, "-e", "stderr", "-p", directory, "-c", "\(directory)/nginx.conf"]
        }
    }

    /// `uwsgi` behind its own HTTP router, two processes.
    static let uwsgi = Peer(
        name: "uwsgi --http", program: "uwsgi", howToInstall: "apt-get install uwsgi uwsgi-plugin-python3",
        body: greeting
    ) { program, port, directory in
        try wsgi.write(toFile: "\(directory)/app.py", atomically: false, encoding: .utf8)
        return [
            program, "--plugin", "http,python3", "--http", "127.0.0.1:\(port)", "--http-keepalive", "--master", "--processes", "2",
            "--wsgi-file", "\(directory)/app.py", "--need-app", "--disable-logging",
        ]
    }

    /// `gunicorn`, two processes with four threads each.
    static let gunicorn = Peer(
        name: "gunicorn gthread", program: "gunicorn", howToInstall: "pip install gunicorn", body: greeting
    ) { program, port, directory in
        try wsgi.write(toFile: "\(directory)/app.py", atomically: false, encoding: .utf8)
        return [
            program, "--bind", "127.0.0.1:\(port)", "--worker-class", "gthread", "--workers", "2", "--threads", "4",
            "--keep-alive", "75", "--log-level", "error", "--chdir", directory, "app:application",
        ]
    }

    static let all = [nginx, uwsgi, gunicorn]

    /// What functions/hello answers to a request without a name.
    static let greeting = "Hello, world!\n"

    /// functions/hello for WSGI servers.
    private static let wsgi = """
        from urllib.parse import parse_qs


        def application(environ, start_response):
            query = environ["QUERY_STRING"]
            name = (query and parse_qs(query).get("name", [""])[0]) or environ["PATH_INFO"].strip("/") or "world"
            body = f"Hello, {name}!\\n".encode()
            start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))])
            return [body]
        """

    private var path: String? {
        let directories = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map(String.init) + ["/usr/sbin"]
        return directories.map { "\($0)/\(program)" }.first(where: FileManager.default.isExecutableFile(atPath:))
    }

    var isInstalled: Bool { path != nil }

    /// Starts it and waits for its first answer; nil where it is not installed.
    func start(_ setting: BenchSetting) throws -> PeerServer? {
        guard let path else { return nil }
        let directory = try setting.makeDirectory(program)
        let port = try freePort()
        let child = try Child(program, try command(path, port, directory), log: "\(directory)/log")
        let server = PeerServer(name: name, child: child, target: (port, "/", body))
        let load = Load(port: port, path: "/", connections: 1, seconds: 0, body: body)
        var failure: any Error = Failure("it has ended")
        for _ in 0..<500 where !child.hasEnded {
            do {
                _ = try LoadClient.run(load)
                return server
            } catch { failure = error }
            usleep(20_000)
        }
        child.stop()
        throw Failure("\(program) does not answer (\(failure)): \(child.lastOutput)")
    }
}

final class PeerServer: Contestant {
    let name: String
    let child: Child
    let target: (port: UInt16, path: String, body: String)

    init(name: String, child: Child, target: (port: UInt16, path: String, body: String)) {
        self.name = name
        self.child = child
        self.target = target
    }
}

/// A port that was free a moment ago: the peers cannot tell which one the kernel chose for them.
func freePort() throws -> UInt16 {
    let socket = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
    defer { close(socket) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let status = withUnsafeMutablePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(socket, $0, size) == 0 && getsockname(socket, $0, &size) == 0 }
    }
    guard status else { throw Failure("no free port: \(String(cString: strerror(errno)))") }
    return UInt16(bigEndian: address.sin_port)
}
