internal import CUV

/// A libuv failure: its negative errno and what was being done.
package struct UVError: Error, CustomStringConvertible {
    package let code: Int32
    package let doing: StaticString

    package var isAddressInUse: Bool { code == UV_EADDRINUSE.rawValue }
    package var isPermission: Bool { code == UV_EACCES.rawValue }

    /// The name and text of the code, as in "EADDRINUSE: address already in use".
    package var description: String {
        "\(doing): \(String(cString: uv_err_name(code))): \(String(cString: uv_strerror(code)))"
    }

    static func check(_ status: Int32, _ doing: StaticString) throws(UVError) {
        if status < 0 { throw UVError(code: status, doing: doing) }
    }
}
