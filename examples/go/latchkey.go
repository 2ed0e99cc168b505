package main

import (
	"context"
	"io"
	"log"
	"net/http"
	"time"
)

// Identity is the caller: a user or, if the route requires a scope, possibly an OAuth client.
type Identity struct {
	ID string `json:"id"`
	// Username is empty for an OAuth client, and for a user without a username.
	Username string `json:"username"`
}

type identityKey struct{}

// IdentityOf returns the caller. It panics in a handler that Require doesn't protect.
func IdentityOf(r *http.Request) Identity {
	return r.Context().Value(identityKey{}).(Identity)
}

// NewClient creates the client of all checks, so that checks reuse connections.
func NewClient() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 100          // The default of 2 is too low for a busy application.
	transport.IdleConnTimeout = 25 * time.Second // Latchkey closes idle connections after 30 s.
	return &http.Client{
		Transport:     transport,
		Timeout:       2 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Require creates a middleware that checks the caller at a URL, which can contain a role or scope.
func Require(client *http.Client, verifyURL string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			status, header, err := check(r.Context(), client, verifyURL, r.Header.Get("Authorization"))
			identity := Identity{header.Get("X-Auth-User"), header.Get("X-Auth-Username")}
			if status == http.StatusNoContent && identity.ID != "" {
				ctx := context.WithValue(r.Context(), identityKey{}, identity)
				next.ServeHTTP(w, r.WithContext(ctx))
				return
			}
			// 401 and 403 are about the caller. Every other response denies the request as well.
			if status != http.StatusUnauthorized && status != http.StatusForbidden {
				log.Printf("check failed: status %d, error: %v", status, err)
				status = http.StatusServiceUnavailable
			}
			for _, name := range []string{"WWW-Authenticate", "Retry-After"} {
				if value := header.Get(name); value != "" {
					w.Header().Set(name, value)
				}
			}
			http.Error(w, http.StatusText(status), status)
		})
	}
}

// check returns the status and the header of the response. Without a response, the status is 0.
func check(ctx context.Context, client *http.Client, verifyURL, authorization string) (int, http.Header, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, verifyURL, nil)
	if err != nil {
		return 0, nil, err
	}
	if authorization != "" {
		request.Header.Set("Authorization", authorization)
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	// Reads the body, because otherwise the connection can't be reused.
	_, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, response.Header, err
}
