#include "core/formats/file_map.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace hearth::formats {
namespace {

Failure cannot(const std::string& verb, const std::string& path, int error) {
    const ErrorCode code = error == ENOENT ? ErrorCode::not_found : ErrorCode::io;
    return fail(code,
                "cannot " + verb + " " + path + ": " + std::generic_category().message(error));
}

}  // namespace

Result<std::shared_ptr<const FileMap>> FileMap::load(const std::string& path) {
    // Without O_NONBLOCK the open of a pipe would wait for a writer.
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0) return cannot("open", path, errno);
    struct stat status = {};
    if (::fstat(file, &status) != 0) {
        const int error = errno;
        ::close(file);
        return cannot("inspect", path, error);
    }
    if (!S_ISREG(status.st_mode) || status.st_size <= 0) {
        ::close(file);
        return fail(ErrorCode::io, "cannot map " + path + ": it is empty or not a regular file");
    }
    const auto size = static_cast<std::size_t>(status.st_size);
    void* const memory = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file, 0);
    const int error = errno;
    ::close(file);
    if (memory == MAP_FAILED) return cannot("map", path, error);
    return std::shared_ptr<const FileMap>(
        new FileMap({static_cast<const std::byte*>(memory), size}));
}

FileMap::~FileMap() {
    ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

}  // namespace hearth::formats
