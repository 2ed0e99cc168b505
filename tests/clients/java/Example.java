// Example for a client generated with openapi-generator: from sign-up to sign-out. The argument is
// the URL of a server; each completed step is printed. docs/how-to/generate-client.md describes how
// to generate the client.

import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import latchkey.ApiClient;
import latchkey.ApiException;
import latchkey.api.AuthenticationApi;
import latchkey.api.CurrentUserApi;
import latchkey.api.ItemsSampleApi;
import latchkey.api.SessionsApi;
import latchkey.model.CreateItemRequest;
import latchkey.model.ErrorCode;
import latchkey.model.ErrorResponse;
import latchkey.model.Item;
import latchkey.model.ItemPage;
import latchkey.model.RefreshTokensRequest;
import latchkey.model.Role;
import latchkey.model.Session;
import latchkey.model.SignInRequest;
import latchkey.model.SignUpRequest;
import latchkey.model.TokenPair;
import latchkey.model.UpdateItemRequest;
import latchkey.model.User;

final class Example {
    private static final List<String> NAMES = List.of("Book", "Lamp", "Chair", "Table", "Clock");

    private final String url;
    private final AuthenticationApi authentication;
    private final String username = "john-" + UUID.randomUUID();
    private final String password = UUID.randomUUID().toString();

    private Example(String url) {
        this.url = url;
        this.authentication = new AuthenticationApi(client());
    }

    public static void main(String[] arguments) throws Exception {
        new Example(arguments[0]).run();
    }

    private void run() throws Exception {
        User user = authentication.signUp(new SignUpRequest().username(username).password(password), null).getUser();
        check(username.equals(user.getUsername()) && user.getRole() == Role.USER, "unexpected user");
        System.out.println("sign up");

        TokenPair tokens = signIn(password);
        ApiClient client = withToken(tokens);
        expectError(ErrorCode.INVALID_CREDENTIALS, () -> signIn("wrong"));
        System.out.println("sign in");

        List<Item> items = createAndListItems(new ItemsSampleApi(client));
        check(items.stream().map(Item::getName).toList().equals(NAMES), "expected all items, oldest first");
        System.out.println("pages");

        preventLostUpdate(new ItemsSampleApi(client), items.get(0).getId());
        System.out.println("lost update");

        // A refresh token works once. Store the new one.
        TokenPair newTokens = authentication.refreshTokens(new RefreshTokensRequest().refreshToken(tokens.getRefreshToken()));
        ApiClient newClient = withToken(newTokens);
        check(username.equals(new CurrentUserApi(newClient).getCurrentUser().getUsername()), "unexpected user");
        System.out.println("refresh");

        CurrentUserApi phone = new CurrentUserApi(withToken(signIn(password)));
        revokeOtherSessions(new SessionsApi(newClient));
        expectError(ErrorCode.TOKEN_REVOKED, phone::getCurrentUser);
        System.out.println("sessions");

        new AuthenticationApi(newClient).signOut(null, null, null, null);
        expectError(ErrorCode.TOKEN_REVOKED, () -> new CurrentUserApi(newClient).getCurrentUser());
        System.out.println("sign out");
    }

    private ApiClient client() {
        ApiClient client = new ApiClient();
        client.updateBaseUri(url);
        return client;
    }

    /** A client that sends the access token of the pair. */
    private ApiClient withToken(TokenPair tokens) {
        return client().setRequestInterceptor(
                request -> request.header("Authorization", "Bearer " + tokens.getAccessToken()));
    }

    private TokenPair signIn(String password) throws ApiException {
        return authentication.signIn(new SignInRequest().username(username).password(password));
    }

    /** Creates items, and lists all of them in pages of two. */
    private static List<Item> createAndListItems(ItemsSampleApi api) throws ApiException {
        for (String name : NAMES) {
            api.createItem(new CreateItemRequest().name(name), null);
        }
        List<Item> items = new ArrayList<>();
        String after = null;
        do {
            ItemPage page = api.listItems(2, after);
            items.addAll(page.getData());
            after = page.getNext();
        } while (after != null);
        return items;
    }

    /** The second update uses an ETag that the first update has replaced. */
    private static void preventLostUpdate(ItemsSampleApi api, UUID id) throws Exception {
        String etag = api.getItemWithHttpInfo(id).getHeaders().get("etag").get(0);
        api.updateItem(id, new UpdateItemRequest().name("A better book"), etag, null);
        expectError(
                ErrorCode.PRECONDITION_FAILED,
                () -> api.updateItem(id, new UpdateItemRequest().name("Lost"), etag, null));
        check(api.getItem(id).getName().equals("A better book"), "unexpected name");
    }

    private static void revokeOtherSessions(SessionsApi api) throws ApiException {
        List<Session> sessions = api.listSessions(null, null).getData();
        check(sessions.size() == 3, "expected one session of the sign-up and two of the sign-ins");
        for (Session session : sessions) {
            if (!session.getCurrent()) {
                api.revokeSession(session.getId(), null, null);
            }
        }
    }

    private interface Request {
        Object send() throws ApiException;
    }

    /** Every error has a code from a closed list. */
    private static void expectError(ErrorCode code, Request request) throws Exception {
        try {
            throw new AssertionError("expected " + code + ", got " + request.send());
        } catch (ApiException exception) {
            ErrorResponse error =
                    ApiClient.createDefaultObjectMapper().readValue(exception.getResponseBody(), ErrorResponse.class);
            check(error.getCode() == code, "expected " + code + ", got " + error.getCode());
        }
    }

    private static void check(boolean condition, String message) {
        if (!condition) {
            throw new AssertionError(message);
        }
    }
}
