package receivers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/rossby-streams/rossby/alerting/notify"
)

// HTTP is how a receiver is reached.
type HTTP struct {
	// URL is where to post to. Required.
	URL Secret
	// Authorization is the value of the header, such as "Bearer ...". The zero Secret: none.
	Authorization Secret
	// Timeout bounds one attempt. Zero: 10 s.
	Timeout time.Duration
	// Client, if set, is used in place of http.DefaultClient.
	Client *http.Client
}

const (
	defaultTimeout = 10 * time.Second
	maxAnswer      = 200 // bytes of an answer that an error shows
	maxRetryAfter  = time.Minute
)

// post sends JSON. header may be nil.
func (h *HTTP) post(ctx context.Context, path, token string, body []byte) error {
	attempt, cancel := context.WithTimeout(ctx, orDefault(h.Timeout, defaultTimeout))
	defer cancel()
	request, err := h.request(attempt, path, body)
	if err != nil {
		return err
	}
	request.Header.Set("Idempotency-Key", token)
	client := h.Client
	if client == nil {
		client = http.DefaultClient
	}
	answer, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("post: %w", withoutURL(err))
	}
	defer func() { _ = answer.Body.Close() }()                    // what matters has been read
	text, _ := io.ReadAll(io.LimitReader(answer.Body, maxAnswer)) // it is for the error only
	err = judge(answer.StatusCode, text)
	if err != nil && !errors.Is(err, notify.ErrRefused) {
		pause, cancel := context.WithTimeout(ctx, retryAfter(answer.Header))
		defer cancel()
		<-pause.Done()
	}
	return err
}

// retryAfter is for how long a receiver asks to be left alone, in seconds or until a time by its own clock; too long a wish is cut.
func retryAfter(header http.Header) time.Duration {
	wish := header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(wish, 10, 31); err == nil {
		return min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	until, err := http.ParseTime(wish)
	now, err2 := http.ParseTime(header.Get("Date"))
	if err != nil || err2 != nil {
		return 0
	}
	return min(until.Sub(now), maxRetryAfter)
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d <= 0 {
		return otherwise
	}
	return d
}

func (h *HTTP) request(ctx context.Context, path string, body []byte) (*http.Request, error) {
	address, err := h.URL.reveal()
	if err != nil {
		return nil, fmt.Errorf("the URL of the receiver: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(address, "/")+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("the URL of the receiver is none: %w", withoutURL(err))
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "rossby")
	if h.Authorization.read != nil {
		value, err := h.Authorization.reveal()
		if err != nil {
			return nil, fmt.Errorf("the authorization for the receiver: %w", err)
		}
		request.Header.Set("Authorization", value)
	}
	return request, nil
}

// withoutURL leaves the URL out of an error: there may be a token in it.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// judge says what an answer means.
func judge(status int, text []byte) error {
	if status/100 == 2 {
		return nil
	}
	said := strings.Join(strings.Fields(strings.ToValidUTF8(string(text), "")), " ")
	if status/100 == 4 && status != http.StatusTooManyRequests && status != http.StatusRequestTimeout {
		return fmt.Errorf("%w: status %d: %s", notify.ErrRefused, status, said)
	}
	return fmt.Errorf("the receiver answers with status %d: %s", status, said)
}
