package replay

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
)

// Open opens a recording, plain or gzip, which it tells apart by the first two bytes and not by the name. Errors name the
// file. The caller closes the result.
func Open(path string) (io.ReadCloser, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("replay: %w", err)
	}
	in := bufio.NewReaderSize(file, 64<<10)
	head, err := in.Peek(2)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.Join(fmt.Errorf("replay: %w", err), file.Close())
	}
	r := &recording{path: path, in: in, file: file}
	if bytes.Equal(head, []byte{0x1f, 0x8b}) {
		if r.in, err = gzip.NewReader(in); err != nil {
			return nil, errors.Join(fmt.Errorf("replay: %s begins like a gzip file and is none: %w", path, err), file.Close())
		}
	}
	return r, nil
}

// recording names its file in errors, which neither gzip nor a pipe does.
type recording struct {
	path string
	in   io.Reader
	file *os.File
}

func (r *recording) Read(p []byte) (int, error) {
	n, err := r.in.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("%s: %w", r.path, err)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("%w: the file is cut off", err)
	}
	return n, err
}

func (r *recording) Close() error { return r.file.Close() }
