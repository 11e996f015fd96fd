package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// Access says who is let in. The files are read for each request, so that they can be changed; what is in them is never told.
type Access struct {
	// TokenFile has a bearer token.
	TokenFile string
	// UserFile has users and passwords of basic authentication, one in a line: user:password.
	UserFile string
}

// TLSFiles are a certificate and its key, PEM.
type TLSFiles struct{ Cert, Key string }

func (a *Access) check() error {
	if a.TokenFile != "" {
		if _, err := a.token(); err != nil {
			return err
		}
	}
	if a.UserFile != "" {
		if _, err := a.users(); err != nil {
			return err
		}
	}
	return nil
}

func (a *Access) token() (string, error) {
	data, err := os.ReadFile(a.TokenFile)
	if err != nil {
		return "", fmt.Errorf("read the token: %w", err)
	}
	token := strings.TrimSpace(string(data))
	if token == "" {
		return "", fmt.Errorf("the file %s has no token", a.TokenFile)
	}
	return token, nil
}

func (a *Access) users() (list []string, err error) {
	data, err := os.ReadFile(a.UserFile)
	if err != nil {
		return nil, fmt.Errorf("read the users: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if user, password, ok := strings.Cut(line, ":"); !ok || user == "" || password == "" {
			return nil, fmt.Errorf("the file %s has a line that is not user:password", a.UserFile)
		}
		list = append(list, line)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("the file %s has no users", a.UserFile)
	}
	return list, nil
}

// admits reports whether a request may go on, and answers it if not. Health is nobody's secret.
func (a *Access) admits(w http.ResponseWriter, r *http.Request) bool {
	if *a == (Access{}) || strings.HasPrefix(r.URL.Path, "/-/") || a.knows(r) {
		return true
	}
	if a.UserFile != "" {
		w.Header().Add("WWW-Authenticate", `Basic realm="rossby", charset="UTF-8"`)
	}
	if a.TokenFile != "" {
		w.Header().Add("WWW-Authenticate", "Bearer")
	}
	reply(w, http.StatusUnauthorized, "who are you? Give a user and a password, or a token")
	return false
}

func (a *Access) knows(r *http.Request) bool {
	if given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok && a.TokenFile != "" {
		token, err := a.token()
		return err == nil && same(given, token)
	}
	user, password, ok := r.BasicAuth()
	if !ok || a.UserFile == "" {
		return false
	}
	users, err := a.users()
	known := false
	for _, u := range users { // all of them: the time does not tell which one
		known = same(user+":"+password, u) || known
	}
	return err == nil && known
}

// same compares texts in a time that does not depend on them.
func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

func (t *TLSFiles) check() error {
	if *t == (TLSFiles{}) {
		return nil
	}
	_, err := t.load()
	return err
}

func (t *TLSFiles) load() (*tls.Certificate, error) {
	c, err := tls.LoadX509KeyPair(t.Cert, t.Key)
	if err != nil {
		return nil, fmt.Errorf("read the certificate: %w", err)
	}
	return &c, nil
}

// Listen opens an address for Serve: a bare port, such as :9093, is one of the loopback.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	if strings.HasPrefix(address, ":") {
		address = "127.0.0.1" + address
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	return l, nil
}

// stopTimeout is how long requests in hand may take when serving ends.
const stopTimeout = 5 * time.Second

// Serve serves until ctx ends, and returns nil then. It closes the listener.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{
		Handler: s, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 64 << 10,
	}
	if s.cfg.TLS != (TLSFiles{}) {
		l = tls.NewListener(l, &tls.Config{
			MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"},
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.cfg.TLS.load() },
		})
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	select {
	case err := <-served:
		return fmt.Errorf("api: serve on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := server.Shutdown(ending); err != nil {
		_ = server.Close() // those who are not done yet
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("api: %w", err)
	}
	return nil
}
