import { describe, expect, it } from 'vitest'
import { findCredential } from '../../src/identity/credential.ts'
import { connectFields } from './connect-fields.ts'

const TOKEN = 'aaa.bbb.ccc'
const BEARER = { fromUsername: false, methods: ['OAUTH2-JWT', 'CUSTOM-JWT'] }
const WITH_USERNAME = { ...BEARER, fromUsername: true }

describe('place of the token', () => {
  it.each([
    ['Password', { password: TOKEN }, BEARER, 'password', undefined],
    ['Password beside a User Name', { userName: 'scout', password: TOKEN }, BEARER, 'password', undefined],
    [
      'Password beside a token-like User Name that is not looked at',
      { userName: TOKEN, password: TOKEN },
      BEARER,
      'password',
      undefined,
    ],
    [
      'Authentication Data',
      { method: 'OAUTH2-JWT', data: TOKEN },
      BEARER,
      'authentication_data',
      'OAUTH2-JWT',
    ],
    [
      'Authentication Data, alias',
      { method: 'CUSTOM-JWT', data: TOKEN },
      BEARER,
      'authentication_data',
      'CUSTOM-JWT',
    ],
    [
      'Authentication Data beside a User Name',
      { method: 'OAUTH2-JWT', data: TOKEN, userName: 'x' },
      BEARER,
      'authentication_data',
      'OAUTH2-JWT',
    ],
    ['User Name by option', { userName: TOKEN }, WITH_USERNAME, 'user_name', undefined],
    [
      'Password beside a plain User Name by option',
      { userName: 'scout', password: TOKEN },
      WITH_USERNAME,
      'password',
      undefined,
    ],
  ])('TOK-13 %s', (_, fields, options, place, method) => {
    const { source, connect } = connectFields(fields)
    expect(findCredential(source, connect, options)).toEqual({ ok: true, token: TOKEN, place, method })
  })

  it.each([
    ['TOK-01 nothing', {}, BEARER, 'no_token', 'none'],
    [
      'TOK-13 Password and Authentication Data',
      { method: 'OAUTH2-JWT', data: TOKEN, password: TOKEN },
      BEARER,
      'two_tokens',
      'none',
    ],
    [
      'TOK-13 an empty Password and Authentication Data',
      { method: 'OAUTH2-JWT', data: TOKEN, password: '' },
      BEARER,
      'two_tokens',
      'none',
    ],
    [
      'TOK-13 User Name and Password by option',
      { userName: TOKEN, password: TOKEN },
      WITH_USERNAME,
      'two_tokens',
      'none',
    ],
    [
      'TOK-13 User Name and Authentication Data by option',
      { userName: TOKEN, method: 'OAUTH2-JWT', data: TOKEN },
      WITH_USERNAME,
      'two_tokens',
      'none',
    ],
    ['C14 unknown method', { method: 'ace', data: TOKEN }, BEARER, 'unknown_method', 'none'],
    ['C14 method in another case', { method: 'oauth2-jwt', data: TOKEN }, BEARER, 'unknown_method', 'none'],
    ['C14 empty method', { method: '', data: TOKEN }, BEARER, 'unknown_method', 'none'],
    [
      'C14 method when none is configured',
      { method: 'OAUTH2-JWT', data: TOKEN },
      { ...BEARER, methods: [] },
      'unknown_method',
      'none',
    ],
    ['method without data', { method: 'OAUTH2-JWT' }, BEARER, 'no_token', 'none'],
    ['method with empty data', { method: 'OAUTH2-JWT', data: '' }, BEARER, 'no_token', 'none'],
    ['K1 User Name only', { userName: 'scout' }, BEARER, 'no_password', 'none'],
    ['K1 token in the User Name without the option', { userName: TOKEN }, BEARER, 'no_password', 'none'],
    ['K1 empty Password', { userName: 'scout', password: '' }, BEARER, 'no_password', 'none'],
    ['K1 empty Password alone', { password: '' }, BEARER, 'no_password', 'none'],
    ['blank in the token', { password: 'aaa.bbb.ccc ' }, BEARER, 'malformed_token', 'password'],
    ['padding', { password: 'aaa.bbb.ccc=' }, BEARER, 'malformed_token', 'password'],
    ['a byte above 0x7f', { password: 'aaa.b\u00e9b.ccc' }, BEARER, 'malformed_token', 'password'],
    [
      'NUL',
      { method: 'OAUTH2-JWT', data: 'aaa.bbb.ccc\0' },
      BEARER,
      'malformed_token',
      'authentication_data',
    ],
    ['empty User Name by option', { userName: '' }, WITH_USERNAME, 'malformed_token', 'user_name'],
  ])('refuses %s', (_, fields, options, reason, place) => {
    const { source, connect } = connectFields(fields)
    expect(findCredential(source, connect, options)).toEqual({ ok: false, reason, place })
  })
})
