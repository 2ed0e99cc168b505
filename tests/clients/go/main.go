// Example for a client generated with openapi-generator: from sign-up to sign-out. The argument is
// the URL of a server; each completed step is printed. docs/how-to/generate-client.md describes how
// to generate the client.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log"
	"os"
	"slices"

	"golang.org/x/oauth2"

	"latchkey"
)

var names = []string{"Book", "Lamp", "Chair", "Table", "Clock"}

// A client, and the context with its access token.
type userClient struct {
	*latchkey.APIClient
	ctx context.Context
}

func main() {
	log.SetFlags(0)
	configuration := latchkey.NewConfiguration()
	configuration.Servers = latchkey.ServerConfigurations{{URL: os.Args[1]}}
	public := latchkey.NewAPIClient(configuration)
	ctx := context.Background()
	username, password := "john-"+rand.Text(), rand.Text()

	body := latchkey.NewSignUpRequest(password)
	body.SetUsername(username)
	registered, _, err := public.AuthenticationAPI.SignUp(ctx).SignUpRequest(*body).Execute()
	check(err)
	assert(registered.User.GetUsername() == username && registered.User.Role == latchkey.USER, "unexpected user")
	fmt.Println("sign up")

	signIn := func(password string) (*latchkey.TokenPair, error) {
		body := latchkey.NewSignInRequest(password)
		body.SetUsername(username)
		tokens, _, err := public.AuthenticationAPI.SignIn(ctx).SignInRequest(*body).Execute()
		return tokens, err
	}
	tokens, err := signIn(password)
	check(err)
	client := withToken(public, tokens)
	_, err = signIn("wrong")
	expectError(err, latchkey.INVALID_CREDENTIALS)
	fmt.Println("sign in")

	items := client.createAndListItems()
	assert(slices.EqualFunc(items, names, func(item latchkey.Item, name string) bool { return item.Name == name }),
		"expected all items, oldest first")
	fmt.Println("pages")

	client.preventLostUpdate(items[0].Id)
	fmt.Println("lost update")

	// A refresh token works once. Store the new one.
	refresh := latchkey.NewRefreshTokensRequest(tokens.RefreshToken)
	tokens, _, err = public.AuthenticationAPI.RefreshTokens(ctx).RefreshTokensRequest(*refresh).Execute()
	check(err)
	client = withToken(public, tokens)
	user, err := client.user()
	check(err)
	assert(user.GetUsername() == username, "unexpected user")
	fmt.Println("refresh")

	tokens, err = signIn(password)
	check(err)
	phone := withToken(public, tokens)
	client.revokeOtherSessions()
	_, err = phone.user()
	expectError(err, latchkey.TOKEN_REVOKED)
	fmt.Println("sessions")

	_, err = client.AuthenticationAPI.SignOut(client.ctx).Execute()
	check(err)
	_, err = client.user()
	expectError(err, latchkey.TOKEN_REVOKED)
	fmt.Println("sign out")
}

func withToken(client *latchkey.APIClient, tokens *latchkey.TokenPair) userClient {
	source := oauth2.StaticTokenSource(&oauth2.Token{AccessToken: tokens.AccessToken})
	return userClient{client, context.WithValue(context.Background(), latchkey.ContextOAuth2, source)}
}

func (client userClient) user() (*latchkey.User, error) {
	user, _, err := client.CurrentUserAPI.GetCurrentUser(client.ctx).Execute()
	return user, err
}

// Creates items, and lists all of them in pages of two.
func (client userClient) createAndListItems() []latchkey.Item {
	for _, name := range names {
		body := latchkey.NewCreateItemRequest(name)
		_, _, err := client.ItemsSampleAPI.CreateItem(client.ctx).CreateItemRequest(*body).Execute()
		check(err)
	}
	var items []latchkey.Item
	request := client.ItemsSampleAPI.ListItems(client.ctx).Limit(2)
	for {
		page, _, err := request.Execute()
		check(err)
		items = append(items, page.Data...)
		after := page.Next.Get()
		if after == nil {
			return items
		}
		request = request.After(*after)
	}
}

// The second update uses an ETag that the first update has replaced.
func (client userClient) preventLostUpdate(id string) {
	update := func(name, etag string) error {
		body := latchkey.UpdateItemRequest{Name: &name}
		_, _, err := client.ItemsSampleAPI.UpdateItem(client.ctx, id).IfMatch(etag).UpdateItemRequest(body).Execute()
		return err
	}
	_, response, err := client.ItemsSampleAPI.GetItem(client.ctx, id).Execute()
	check(err)
	etag := response.Header.Get("ETag")
	check(update("A better book", etag))
	expectError(update("Lost", etag), latchkey.PRECONDITION_FAILED)
	item, _, err := client.ItemsSampleAPI.GetItem(client.ctx, id).Execute()
	check(err)
	assert(item.Name == "A better book", "unexpected name")
}

func (client userClient) revokeOtherSessions() {
	sessions, _, err := client.SessionsAPI.ListSessions(client.ctx).Execute()
	check(err)
	assert(len(sessions.Data) == 3, "expected one session of the sign-up and two of the sign-ins")
	for _, session := range sessions.Data {
		if !session.Current {
			_, err := client.SessionsAPI.RevokeSession(client.ctx, session.Id).Execute()
			check(err)
		}
	}
}

// Every error has a code from a closed list.
func expectError(err error, code latchkey.ErrorCode) {
	var apiError *latchkey.GenericOpenAPIError
	assert(errors.As(err, &apiError), fmt.Sprintf("expected %s, got %v", code, err))
	response, _ := apiError.Model().(latchkey.ErrorResponse)
	assert(response.Code == code, fmt.Sprintf("expected %s, got %s", code, response.Code))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func assert(condition bool, message string) {
	if !condition {
		log.Fatal(message)
	}
}
