package stream

import (
	"fmt"
	"unicode/utf8"
)

// KeyHeader carries the escaped key of a record in a topic whose KeyIn is Header.
// A record with the empty key has none.
const KeyHeader = "Rossby-Key"

// keylessToken ends the subjects of topics whose keys are in headers.
const keylessToken = "_"

// maxKey is the size in bytes of the longest escaped key in a subject. The server
// closes the connection of a client that sends a protocol line of more than 4096
// bytes, and a line holds the subject, a reply subject that names stream and
// consumer, and account names where the message crosses them.
const maxKey = 1024

// emptyKey stands for the empty key, which no subject token could.
const emptyKey = "%"

const hexDigits = "0123456789ABCDEF"

// Partition gives the partition, 0 to n-1, that the key belongs to in a topic
// of n partitions: FNV-1a with 32 bits, modulo n, over the bytes of the escaped
// key without the dots between its tokens. That is what nats-server computes
// for partition(n,1,2,...) over the key's tokens, so a plain NATS client behind
// such a subject mapping and a producer agree. 0 when n is not positive.
func Partition(key string, n int) int {
	if n <= 1 {
		return 0
	}
	if !plainKey(key) {
		var buf [256]byte
		return int(hashTokens(appendEscaped(buf[:0], key)) % uint32(n))
	}
	return int(hashTokens(key) % uint32(n))
}

// hashTokens is FNV-1a 32 over everything but dots: the server hashes the
// concatenated tokens, with no separator.
func hashTokens[S string | []byte](escaped S) uint32 {
	h := uint32(2166136261)
	for i := 0; i < len(escaped); i++ {
		if c := escaped[i]; c != '.' {
			h ^= uint32(c)
			h *= 16777619
		}
	}
	return h
}

// EscapeKey makes a key legal as the last tokens of a subject. Most keys come
// back as they are, dots included: a composite key is several tokens and
// wildcards select on them. What a subject cannot hold becomes %XX: white
// space, control characters, '*', '>', '%', bytes that are not UTF-8, and a dot
// that would leave an empty token beside it. The empty key becomes "%".
// Different keys have different results; UnescapeKey is the way back.
func EscapeKey(key string) string {
	if plainKey(key) {
		return key
	}
	return string(appendEscaped(make([]byte, 0, len(key)+16), key))
}

// plainKey says whether the key needs no escaping.
func plainKey(key string) bool {
	if key == "" {
		return false
	}
	afterDot, ascii := true, true // an empty token so far
	for i := 0; i < len(key); i++ {
		c := key[i]
		if c == '.' {
			if afterDot {
				return false
			}
			afterDot = true
			continue
		}
		if illegal(c) {
			return false
		}
		ascii = ascii && c < utf8.RuneSelf
		afterDot = false
	}
	return !afterDot && (ascii || utf8.ValidString(key))
}

func illegal(c byte) bool {
	return c <= ' ' || c == '*' || c == '>' || c == '%' || c == 0x7f
}

// appendEscaped appends the escaped key to b.
func appendEscaped(b []byte, key string) []byte {
	if key == "" {
		return append(b, emptyKey...)
	}
	token := len(b) // where the current token starts
	for i := 0; i < len(key); {
		c := key[i]
		switch {
		case c >= utf8.RuneSelf:
			r, n := utf8.DecodeRuneInString(key[i:])
			if r == utf8.RuneError && n == 1 {
				b = appendHex(b, c)
			} else {
				b = append(b, key[i:i+n]...)
			}
			i += n
			continue
		case c == '.':
			// A dot may separate two tokens only if neither is empty. The token
			// after it cannot be: a dot there would be escaped in its turn.
			if len(b) > token && i+1 < len(key) {
				b = append(b, '.')
				token = len(b)
			} else {
				b = appendHex(b, c)
			}
		case illegal(c):
			b = appendHex(b, c)
		default:
			b = append(b, c)
		}
		i++
	}
	return b
}

func appendHex(b []byte, c byte) []byte {
	return append(b, '%', hexDigits[c>>4], hexDigits[c&15])
}

// UnescapeKey gives the key that EscapeKey made the token from. A token that it
// cannot have made, one with a stray '%', is an error that matches ErrBadKey.
func UnescapeKey(token string) (string, error) {
	if token == emptyKey {
		return "", nil
	}
	i := 0
	for i < len(token) && token[i] != '%' {
		i++
	}
	if i == len(token) {
		if token == "" {
			return "", fmt.Errorf("%w: it is empty", ErrBadKey)
		}
		return token, nil
	}
	b := make([]byte, 0, len(token))
	b = append(b, token[:i]...)
	for i < len(token) {
		if token[i] != '%' {
			b = append(b, token[i])
			i++
			continue
		}
		if i+2 >= len(token) {
			return "", fmt.Errorf("%w: %q ends within an escape", ErrBadKey, token)
		}
		hi, lo := unhex(token[i+1]), unhex(token[i+2])
		if hi > 15 || lo > 15 {
			return "", fmt.Errorf("%w: %q has %q, which is no escape", ErrBadKey, token, token[i:i+3])
		}
		b = append(b, hi<<4|lo)
		i += 3
	}
	return string(b), nil
}

func unhex(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}

// CheckKey says whether a record of the topic can have that key: the error is a
// *KeyError, for an empty key in a compacted topic, and for a key of more than
// 1024 bytes, escaped, where keys are in subjects.
func (s TopicSpec) CheckKey(key string) error {
	if s.KeyIn == Header {
		return nil
	}
	if s.Compact && key == "" {
		return &KeyError{Topic: s.Name, Key: key, Problem: "it is empty, and a compacted topic keeps one record for each key (give the record a key)"}
	}
	if 3*len(key) <= maxKey { // escaping makes a byte three at most
		return nil
	}
	if n := len(EscapeKey(key)); n > maxKey {
		return &KeyError{Topic: s.Name, Key: key, Problem: fmt.Sprintf("it has %d bytes in a subject, the limit is %d (shorten it, or make the topic with KeyIn: Header)", n, maxKey)}
	}
	return nil
}

// address gives the subject and the headers of a record with that key in
// partition p. h is not changed. The error is a *KeyError.
func (s TopicSpec) address(p int, key string, h Headers) (string, Headers, error) {
	if err := s.CheckKey(key); err != nil {
		return "", nil, err
	}
	if s.KeyIn == Header && key != "" {
		h = h.with(KeyHeader, EscapeKey(key))
	}
	return s.Subject(p, key), h, nil
}

// keyReader takes the messages of one partition back to their keys.
type keyReader struct {
	prefix  int // bytes of the subject before the key
	header  bool
	compact bool
}

func (s TopicSpec) keyReader(p int) keyReader {
	return keyReader{prefix: len(s.subjectPrefix(p)), header: s.KeyIn == Header, compact: s.Compact}
}

// read gives the key of a message and its headers without those that the topic
// put there. What a foreign client made up, and is no escaped key, is given as
// it is.
func (r keyReader) read(subject string, h Headers) (string, Headers) {
	token := subject
	h = withoutMarks(h)
	if r.compact && len(h) > 0 {
		h = withoutMarkers(h)
	}
	if r.header {
		token = h.Get(KeyHeader)
		if token == "" {
			return "", h
		}
		if delete(h, KeyHeader); len(h) == 0 {
			h = nil
		}
	} else if len(subject) >= r.prefix {
		token = subject[r.prefix:]
	}
	key, err := UnescapeKey(token)
	if err != nil {
		key = token
	}
	return key, h
}
